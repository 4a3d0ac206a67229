"""The same loop on Ray. The one home of Ray in this package."""
