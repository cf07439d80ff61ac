"""How most programs of the suite are compiled: in little time."""

# Of XLA's two code generators for the CPU the newer one takes twice as long
# for a small program, and most programs here are small.
OPTIONS = {
  "xla_backend_optimization_level": 0,
  "xla_cpu_use_fusion_emitters": False,
  "xla_llvm_disable_expensive_passes": True,
}
