// What a site may write into its template, and what Slurm says: words in, decisions out.
#include "cluster/launch/slurm_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "cluster/launch/launcher_choice.h"
#include "cluster/launch/slurm_template.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace {

using ::testing::HasSubstr;

std::string problem_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  return "";
}
std::string problem_of(const std::string& script) {
  return problem_of([&] { SlurmTemplate("site.sbatch", script); });
}

constexpr char kMinimal[] = "#!/bin/bash\n#SBATCH --ntasks={{ranks}}\nsrun {{srun_options}} {{command}}\n";

TEST(SlurmTemplate, FillsWhatASiteAsksFor) {
  const SlurmTemplate site("site.sbatch", "#!/bin/bash\n#SBATCH -n {{ranks}} -c {{threads}} --signal=TERM@90\n"
                                          "mpirun {{command}} # {{ranks}}\n");
  EXPECT_EQ(site.fill({4, 2, GangKind::ranks, "/bin/sh '/x y/rank'"}),
            "#!/bin/bash\n#SBATCH -n 4 -c 2 --signal=TERM@90\nmpirun /bin/sh '/x y/rank' # 4\n");
  EXPECT_EQ(site.signal_seconds(), 90u);
  EXPECT_EQ(SlurmTemplate("m", kMinimal).signal_seconds(), 0u);
}

TEST(SlurmTemplate, RanksAreOneMpiJobAndWorkersAreNot) {
  const SlurmTemplate site("site.sbatch", kMinimal);
  EXPECT_THAT(site.fill({2, 3, GangKind::ranks, "c"}), HasSubstr("--cpus-per-task=3 --mpi=pmix --kill-on-bad-exit=1 c"));
  EXPECT_THAT(site.fill({2, 3, GangKind::workers, "c"}), HasSubstr("--mpi=none --kill-on-bad-exit=0 --wait=0 c"));
}

TEST(SlurmTemplate, TheBuiltInOneHasWhatPreemptionAndTimeLimitsNeed) {
  const SlurmTemplate built_in = SlurmTemplate::built_in();
  const std::string filled = built_in.fill({8, 4, GangKind::ranks, "COMMAND"});
  EXPECT_THAT(filled, HasSubstr("\n#SBATCH --ntasks=8\n"));
  EXPECT_THAT(filled, HasSubstr("\n#SBATCH --requeue\n"));
  EXPECT_THAT(filled, HasSubstr("--mpi=pmix --kill-on-bad-exit=1 COMMAND\n"));
  EXPECT_EQ(filled.find("{{"), std::string::npos);
  EXPECT_EQ(built_in.signal_seconds(), 60u);
  EXPECT_EQ(filled.find("gpus"), std::string::npos);
  EXPECT_THAT(built_in.fill({8, 4, GangKind::ranks, "COMMAND", 1}), HasSubstr("\n#SBATCH --cpus-per-task=4 --gpus-per-task=1\n"));
}

TEST(SlurmTemplate, NamesTheFileAndTheFieldThatIsMissingOrUnknown) {
  EXPECT_EQ(problem_of(kMinimal), "");
  EXPECT_THAT(problem_of("#!/bin/bash\nsrun {{command}}\n"), HasSubstr("site.sbatch: the field {{ranks}} is missing"));
  EXPECT_THAT(problem_of("#!/bin/bash\n#SBATCH -n {{ranks}}\n"),
              HasSubstr("site.sbatch: the field {{command}} is missing"));
  // A field in a comment asks for nothing.
  EXPECT_THAT(problem_of("#!/bin/bash\n#SBATCH -n {{ranks}}\n# srun {{command}}\n"), HasSubstr("{{command}} is missing"));
  EXPECT_THAT(problem_of("#!/bin/bash\n##SBATCH -n {{ranks}}\nsrun {{command}}\n"), HasSubstr("{{ranks}} is missing"));
  EXPECT_THAT(problem_of(std::string(kMinimal) + "echo {{node}}\n"),
              HasSubstr("site.sbatch, line 4: unknown field {{node}}; fields are {{ranks}}, {{command}}"));
  EXPECT_THAT(problem_of(std::string(kMinimal) + "echo {{ranks\n"), HasSubstr("line 4: {{ without }}"));
  EXPECT_THAT(problem_of("srun {{command}} {{ranks}}\n"), HasSubstr("site.sbatch, line 1: expected a script"));
  EXPECT_THAT(problem_of([] { SlurmTemplate::read("/no/such/site.sbatch"); }), HasSubstr("/no/such/site.sbatch"));
}

TEST(LauncherSettings, AreCheckedBeforeAnythingStarts) {
  EXPECT_EQ(parse_launcher_kind("slurm"), LauncherKind::slurm);
  EXPECT_THAT(problem_of([] { parse_launcher_kind("pbs"); }), HasSubstr("\"pbs\": expected auto, local or slurm"));
  LauncherSettings settings;
  settings.slurm_template = "site.sbatch";
  EXPECT_THAT(problem_of([&] { check_launcher(settings); }), HasSubstr("slurm only"));
  settings = {.kind = LauncherKind::slurm, .slurm_template = {}, .hosts = {"a:2"}, .folder = {}};
  EXPECT_THAT(problem_of([&] { check_launcher(settings); }), HasSubstr("Slurm chooses its own"));
  settings = {.kind = LauncherKind::local, .slurm_template = {}, .hosts = {"node1:2", "node2"}, .folder = {}};
  EXPECT_EQ(problem_of([&] { check_launcher(settings); }), "");
  for (const char* const host : {"", ":2", "a:", "a:two", "-a", "a,b", "a b", "a:99999"}) {
    settings.hosts = {host};
    EXPECT_THAT(problem_of([&] { check_launcher(settings); }), HasSubstr("expected HOST or HOST:RANKS")) << host;
  }
}

// As `scontrol --oneliner show job` of Slurm 22.05 prints it, shortened.
std::string job_line(const std::string& state, const std::string& reason, const std::string& code = "0:0") {
  return "JobId=3 JobName=quench UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=1 Nice=0 Account=(null) JobState=" +
         state + " Reason=" + reason + " Dependency=(null) Requeue=1 Restarts=2 BatchFlag=1 Reboot=0 ExitCode=" + code +
         " RunTime=1-02:03:04 TimeLimit=2-00:00:00 TimeMin=N/A Partition=low ReqNodeList=(null) ExcNodeList=(null) "
         "NodeList=n[1-2] BatchHost=n1 NumNodes=2 NumCPUs=2\n";
}

TEST(SlurmWords, AJobsStateIsRead) {
  const auto job = parse_job_state(job_line("RUNNING", "None"));
  ASSERT_TRUE(job);
  EXPECT_EQ(job->phase, SlurmPhase::running);
  EXPECT_EQ(job->nodes, "n[1-2]");
  EXPECT_EQ(job->restarts, 2u);
  EXPECT_EQ(job->run_seconds, 93'784u);
  EXPECT_EQ(job->limit_seconds, 172'800u);
  EXPECT_EQ(parse_job_state(job_line("PENDING", "BeginTime"))->phase, SlurmPhase::pending);
  EXPECT_EQ(parse_job_state(job_line("PENDING", "BeginTime"))->reason, "BeginTime");
  EXPECT_EQ(parse_job_state(job_line("COMPLETING", "None"))->phase, SlurmPhase::running) << "it may yet be put back";
  for (const char* const over : {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"})
    EXPECT_EQ(parse_job_state(job_line(over, "None"))->phase, SlurmPhase::finished) << over;
  const auto killed = parse_job_state(job_line("FAILED", "NonZeroExitCode", "75:9"));
  EXPECT_EQ(killed->exit_code, 75);
  EXPECT_EQ(killed->exit_signal, 9);
  EXPECT_FALSE(parse_job_state("slurm_load_jobs error: Invalid job id specified"));
  EXPECT_FALSE(parse_job_state(""));
  EXPECT_TRUE(unknown_job("slurm_load_jobs error: Invalid job id specified"));
}

TEST(SlurmWords, TimesAndNumbersAreRead) {
  EXPECT_EQ(parse_slurm_time("00:01:00"), 60u);
  for (const char* const none : {"UNLIMITED", "INVALID", "Partition_Limit", "", "1:2", "1:2:3:4", "x-00:00:01"})
    EXPECT_FALSE(parse_slurm_time(none)) << none;
  EXPECT_EQ(parse_submitted("123\n"), "123");
  EXPECT_EQ(parse_submitted("123;cluster\n"), "123");
  EXPECT_EQ(parse_submitted("your quota is fine\n123\n"), "123");
  EXPECT_FALSE(parse_submitted("Submitted batch job 123\n"));
  EXPECT_TRUE(controller_unreachable("sbatch: error: Batch job submission failed: Unable to contact slurm controller "
                                     "(connect failure)"));
  EXPECT_FALSE(controller_unreachable("sbatch: error: invalid partition specified: nowhere"));
}

TEST(SlurmWords, SrunsLabelsNameTheRank) {
  EXPECT_EQ(parse_labelled_line("12: loading: all").rank, 12u);
  EXPECT_EQ(parse_labelled_line("12: loading: all").text, "loading: all");
  EXPECT_EQ(parse_labelled_line(" 3: x").rank, 3u);
  EXPECT_FALSE(parse_labelled_line("srun: error: n2: tasks 4-7: Exited").rank);
  EXPECT_FALSE(parse_labelled_line("").rank);
}

std::optional<SlurmAllocation> allocation_of(const std::map<std::string, std::string>& variables) {
  return slurm_allocation([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(SlurmAllocation, IsReadFromItsVariables) {
  EXPECT_FALSE(allocation_of({}));
  EXPECT_FALSE(allocation_of({{"SLURM_JOB_ID", "7"}})) << "a shell that only names a job";
  const std::map<std::string, std::string> two = {
      {"SLURM_JOB_ID", "7"}, {"SLURM_JOB_NODELIST", "n[1-2]"}, {"SLURM_JOB_NUM_NODES", "2"}, {"SLURM_JOB_CPUS_PER_NODE", "8(x2)"}};
  auto with = [&](std::map<std::string, std::string> more) {
    more.insert(two.begin(), two.end());
    return *allocation_of(more);
  };
  EXPECT_EQ(with({}).ranks, 2u) << "one for each node";
  EXPECT_EQ(with({}).threads, 8u);
  EXPECT_EQ(with({{"SLURM_GPUS_ON_NODE", "4"}}).ranks, 8u) << "one for each GPU";
  EXPECT_EQ(with({{"SLURM_GPUS_ON_NODE", "4"}}).threads, 2u);
  EXPECT_EQ(with({{"SLURM_NTASKS", "6"}}).ranks, 6u) << "what was asked for comes first";
  EXPECT_EQ(with({{"SLURM_NTASKS", "6"}, {"SLURM_CPUS_PER_TASK", "2"}}).threads, 2u);
  EXPECT_THAT(problem_of([&] { with({{"SLURM_NTASKS", "many"}}); }), HasSubstr("SLURM_NTASKS is \"many\""));
}

}  // namespace
}  // namespace quench::cluster
