"""Print the one-line commands of the bash blocks under the README's heading "Two commands"."""

import re
import sys
from pathlib import Path

text = Path(sys.argv[1]).read_text(encoding="utf-8")
section = text.split("## Two commands", 1)[1].split("\n## ", 1)[0]
for block in re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL):
    (line,) = block.strip().splitlines()
    sys.stdout.write(line + "\n")
