import os

# Before torch is loaded: threads of small matrix products that wait give the processor away. Spinning ones cost three
# times the processor time where cores are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
