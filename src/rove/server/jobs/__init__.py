"""What people do to jobs: register, stop, evaluate, scale, dispatch, launch, revert, plan."""

from .verbs import JobDispatched, JobPlan, JobRegistered, Jobs, WhyNot

__all__ = ["JobDispatched", "JobPlan", "JobRegistered", "Jobs", "WhyNot"]
