// A real Slurm for tests: its own munged, slurmctld and slurmds (two nodes, n1 and n2, both this machine) with their own
// configuration, ports, keys and files in a scratch directory. Each node has two GPUs, which are twins of /dev/null: Slurm
// binds them, nothing computes on them. Partitions `low` (what runs there is preempted and put
// back into the queue) and `high`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/processes.h"

namespace quench::testing {

class SlurmCluster {
 public:
  // Starts it; throws std::runtime_error saying what is missing or did not come up.
  SlurmCluster();
  ~SlurmCluster();
  SlurmCluster(const SlurmCluster&) = delete;
  SlurmCluster& operator=(const SlurmCluster&) = delete;

  // For every program that is to speak to it.
  const Environment& environment() const { return environment_; }
  Finished command(const std::vector<std::string>& arguments) const;
  // Submits; returns the job's number.
  std::string submit(std::vector<std::string> arguments) const;
  // Signals slurmctld, which is deaf between SIGSTOP and SIGCONT.
  void signal_controller(int number) const;
  // Of `squeue`, one line a job: "ID NAME STATE".
  std::string queue() const;
  // The end of what its programs logged.
  std::string log() const;

 private:
  void start();
  void stop();

  ScratchDirectory directory_;
  Environment environment_;
  std::vector<std::unique_ptr<Running>> daemons_;
};

}  // namespace quench::testing
