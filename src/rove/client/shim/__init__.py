"""Process supervision on a node: one small shim process a task, all forked from one zygote.

The agent talks to `host.ShimHost`; everything that the agent and the shims share lies in files
described by `contract`. A task outlives both the agent and the zygote.
"""
