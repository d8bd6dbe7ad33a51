"""The plugin conformance suite: each module holds one check, or what checks share."""
