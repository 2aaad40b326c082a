"""Tests of the room neural; a package, so that files of the same name in other rooms do not collide."""
