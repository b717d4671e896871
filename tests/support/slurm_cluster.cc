#include "tests/support/slurm_cluster.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <stdexcept>
#include <thread>

namespace quench::testing {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kComingUp{40};

int free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool bound = ::bind(descriptor, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(descriptor);
  if (!bound) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

std::string tail(const std::filesystem::path& file) {
  const std::string text = read_text(file);
  return text.size() > 3000 ? text.substr(text.size() - 3000) : text;
}

}  // namespace

SlurmCluster::SlurmCluster() {
  if (::geteuid() != 0) throw std::runtime_error("needs root, which slurmd wants to start tasks");
  for (const char* const program : {"munged", "slurmctld", "slurmd", "srun", "sbatch"})
    if (run({"/bin/sh", "-c", std::string("PATH=$PATH:/usr/sbin command -v ") + program}).exit_code != 0)
      throw std::runtime_error(std::string(program) +
                               " is not installed (Debian: apt-get install munge slurmctld slurmd slurm-client)");
  try {
    start();
  } catch (...) {
    stop();
    throw;
  }
}

SlurmCluster::~SlurmCluster() { stop(); }

void SlurmCluster::start() {
  const std::string place = directory_.path().string();
  for (const char* const folder : {"munge", "state", "spool-n1", "spool-n2", "tmp-n1", "tmp-n2"})
    std::filesystem::create_directory(directory_ / folder);
  std::filesystem::permissions(directory_ / "munge", std::filesystem::perms::owner_all);
  std::string key(1024, '\0');
  std::random_device random;
  for (char& byte : key) byte = static_cast<char>(random());
  write_text(directory_ / "munge/key", key);
  std::filesystem::permissions(directory_ / "munge/key", std::filesystem::perms::owner_read);
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const std::string name = std::string(host).substr(0, std::string(host).find('.'));
  const std::string first = std::to_string(free_port()), second = std::to_string(free_port());
  // What Slurm hands out as GPUs: twins of /dev/null, which nobody opens.
  for (const char* const gpu : {"gpu0", "gpu1"})
    if (::mknod((directory_ / gpu).c_str(), S_IFCHR | 0600, makedev(1, 3)) != 0)
      throw std::runtime_error("device files cannot be made here");
  write_text(directory_ / "gres.conf", "NodeName=n[1-2] Name=gpu File=" + place + "/gpu[0-1]\n");
  // A job that was put back may not begin for as long as an old credential could be replayed, 120 s by default;
  // nodes are said to have four cores each, whatever this machine has.
  write_text(directory_ / "slurm.conf",
             "ClusterName=quench\nSlurmctldHost=" + name + "(127.0.0.1)\nSlurmctldPort=" + std::to_string(free_port()) +
                 "\nAuthType=auth/munge\nCredType=cred/munge\nAuthInfo=socket=" + place +
                 "/munge/socket,cred_expire=5\nSlurmUser=root\nSlurmdUser=root\nStateSaveLocation=" + place +
                 "/state\nSlurmdSpoolDir=" + place + "/spool-%n\nTmpFS=" + place + "/tmp-%n\nSlurmctldPidFile=" + place +
                 "/slurmctld.pid\nSlurmdPidFile=" + place + "/slurmd-%n.pid\n"
                 "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none\nMpiDefault=none\n"
                 "JobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\n"
                 "GresTypes=gpu\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSlurmdParameters=config_overrides\n"
                 "SchedulerType=sched/backfill\nSchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0\n"
                 "PreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\nKillWait=10\nReturnToService=2\n"
                 "NodeName=n1 NodeHostname=" + name + " NodeAddr=127.0.0.1 Port=" + first + " CPUs=4 Gres=gpu:2 State=UNKNOWN\n"
                 "NodeName=n2 NodeHostname=" + name + " NodeAddr=127.0.0.1 Port=" + second + " CPUs=4 Gres=gpu:2 State=UNKNOWN\n"
                 "PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE\n"
                 "PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE\n");
  const char* const path = ::getenv("PATH");
  environment_ = {{"SLURM_CONF", (directory_ / "slurm.conf").string()},
                  {"PATH", std::string(path == nullptr ? "/usr/bin:/bin" : path) + ":/usr/sbin:/sbin"}};
  const auto daemon = [&](const std::string& words) {
    // A test that is killed must not leave a cluster behind.
    daemons_.push_back(std::make_unique<Running>(
        std::vector<std::string>{"/bin/sh", "-c", "exec setpriv --pdeathsig TERM " + words}, environment_,
        directory_ / "daemons"));
  };
  daemon("munged --foreground --force --key-file=" + place + "/munge/key --socket=" + place + "/munge/socket --pid-file=" +
         place + "/munge/pid --log-file=" + place + "/munge/log --seed-file=" + place + "/munge/seed");
  const auto munge_end = Clock::now() + kComingUp;
  while (!std::filesystem::exists(directory_ / "munge/socket")) {
    if (Clock::now() > munge_end || daemons_.back()->ended()) throw std::runtime_error("munged does not start: " + log());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  daemon("slurmctld -D -c");
  daemon("slurmd -D -N n1");
  daemon("slurmd -D -N n2");
  const auto end = Clock::now() + kComingUp;
  while (command({"sinfo", "--noheader", "--partition=low", "--states=idle", "--format=%D"}).out != "2\n") {
    if (Clock::now() > end) throw std::runtime_error("its nodes do not come up: " + log());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void SlurmCluster::stop() {
  if (daemons_.size() > 1) command({"scancel", "--user=root"});
  const auto end = Clock::now() + std::chrono::seconds(15);
  while (daemons_.size() > 1 && !queue().empty() && Clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  for (auto daemon = daemons_.rbegin(); daemon != daemons_.rend(); ++daemon) {
    (*daemon)->kill(SIGTERM);
    const auto last = Clock::now() + std::chrono::seconds(5);
    while (!(*daemon)->ended() && Clock::now() < last) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  daemons_.clear();
  // Keepers of job steps belong to no daemon.
  for (const pid_t left : processes_with("SLURM_CONF=" + (directory_ / "slurm.conf").string())) ::kill(left, SIGKILL);
}

Finished SlurmCluster::command(const std::vector<std::string>& arguments) const {
  return run(arguments, environment_, std::chrono::seconds(30));
}

std::string SlurmCluster::submit(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"sbatch", "--parsable"});
  const Finished finished = command(arguments);
  if (finished.exit_code != 0) throw std::runtime_error(finished.err);
  return finished.out.substr(0, finished.out.find('\n'));
}

void SlurmCluster::signal_controller(int number) const { daemons_.at(1)->kill(number); }

std::string SlurmCluster::queue() const { return command({"squeue", "--noheader", "--format=%i %j %T"}).out; }

std::string SlurmCluster::log() const { return tail(directory_ / "daemons"); }

}  // namespace quench::testing
