"""What the scenario tests stand on: trees and their comparison, servers, the daemon under test, namespaces."""

from .box import Box
from .daemon import Lockstep
from .events import ended
from .proc import children, descendants, free_port, kill_tree, until
from .tree import assert_equal, diff, oracle, snapshot, total_bytes

__all__ = ["Box", "Lockstep", "assert_equal", "children", "descendants", "diff", "ended", "free_port", "kill_tree", "oracle",
           "snapshot", "total_bytes", "until"]
