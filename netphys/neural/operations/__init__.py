"""From an assembly to an assembly: windows of time, means over trials, sessions, choice, joining, pooling."""
