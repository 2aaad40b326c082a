"""Who looks? An address becomes a Network: a module, what it wants done to an image, and a digest of both."""

from netphys.networks.folder import save_network
from netphys.networks.heads import head_of, without_head
from netphys.networks.loading import as_network, load_network
from netphys.networks.network import Network
from netphys.networks.preprocessing import Preprocess

__all__ = ["Network", "Preprocess", "as_network", "head_of", "load_network", "save_network", "without_head"]
