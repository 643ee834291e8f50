#include "launch/diagnosis.h"

#include "launch/machine.h"
#include "tests/actors/tiny_model.h"
#include "tests/common/error_check.h"
#include "tests/launch/captured_run.h"

#include <sys/resource.h>

#include <algorithm>

using namespace nabla;

namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const Finding& finding_of(const std::vector<Finding>& findings, const std::string& subject) {
  const auto found = std::find_if(findings.begin(), findings.end(), [&](const Finding& finding) { return finding.subject == subject; });
  REQUIRE(found != findings.end());
  return *found;
}

Finding found_with(const RunConfig& config, const std::string& subject) { return finding_of(diagnose_machine(config), subject); }

}  // namespace

TEST_CASE("more threads than cores are warned of, one process beyond them is not") {
  RunConfig config;
  config.actors.count = 2;
  config.actors.threads = config.learner.threads = config.learner.ranks = 1;
  CHECK((judge_threads(config, 2.0).verdict == Verdict::kOk));
  config.actors.count = 3;
  CHECK((judge_threads(config, 2.0).verdict == Verdict::kWarning));
  CHECK(holds(judge_threads(config, 2.0).advice, "actors.count"));
  config.actors.count = 2;
  config.actors.threads = 2;
  CHECK((judge_threads(config, 3.5).verdict == Verdict::kWarning));
}

TEST_CASE("little memory, few files and a full disk are warned of, too little fails") {
  const auto verdicts = [](const auto& judge, std::uint64_t enough, std::uint64_t little, std::uint64_t too_little) {
    CHECK((judge(enough).verdict == Verdict::kOk));
    CHECK(judge(enough).advice.empty());
    CHECK((judge(little).verdict == Verdict::kWarning));
    CHECK_FALSE(judge(little).advice.empty());
    CHECK((judge(too_little).verdict == Verdict::kFailed));
    CHECK_FALSE(judge(too_little).advice.empty());
  };
  verdicts(judge_memory, std::uint64_t{4} << 30, std::uint64_t{500} << 20, std::uint64_t{100} << 20);
  verdicts(judge_open_files, 1024, 512, 64);
  verdicts([](std::uint64_t bytes) { return judge_disk("/runs", bytes); }, std::uint64_t{10} << 30, std::uint64_t{1} << 30, 0);
}

TEST_CASE("the exit code is that of the worst finding: data before the rest") {
  const Finding ok{Verdict::kOk, "a", "b"}, warning{Verdict::kWarning, "a", "b"}, failure{Verdict::kFailed, "a", "b"};
  const Finding data{Verdict::kFailed, "a", "b", "", ExitCode::kData};
  CHECK((exit_code_of({ok, warning}) == ExitCode::kOk));
  CHECK((exit_code_of({ok, failure, warning}) == ExitCode::kFailure));
  CHECK((exit_code_of({failure, data}) == ExitCode::kData));
  CHECK((exit_code_of({data, failure}) == ExitCode::kData));
}

TEST_CASE("a finding is a line, and a second one with what to do") {
  CHECK(finding_text({Verdict::kOk, "memory", "3.0 GiB"}) == "ok       memory         3.0 GiB\n");
  const std::string text = finding_text({Verdict::kFailed, "memory", "none", "buy some"});
  CHECK(text.starts_with("failed   memory         none\n"));
  CHECK(text.ends_with(" buy some\n"));
}

TEST_CASE("this machine is looked at") {
  const TemporaryFolder folder;
  RunConfig config;
  config.run.dir = folder.file("not/yet/there");
  const auto findings = diagnose_machine(config);
  for (const char* subject : {"build", "devices", "threads", "memory", "open files", "runs folder", "local sockets", "port"}) {
    const Finding& finding = finding_of(findings, subject);
    CHECK_MESSAGE(!finding.text.empty(), subject);
  }
  CHECK(holds(finding_of(findings, "runs folder").text, folder.path()));
  CHECK(std::filesystem::is_empty(folder.path()));
  CHECK(usable_cores() > 0.0);
  CHECK(available_memory_bytes() > 0);
}

TEST_CASE("few open files are seen") {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit low{.rlim_cur = 300, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &low);
  const Finding finding = found_with({}, "open files");
  setrlimit(RLIMIT_NOFILE, &before);
  CHECK((finding.verdict == Verdict::kWarning));
  CHECK(holds(finding.text, "300"));
}

TEST_CASE("a runs folder that cannot be written fails") {
  RunConfig config;
  config.run.dir = "/proc/nabla/run";
  const Finding finding = found_with(config, "runs folder");
  CHECK((finding.verdict == Verdict::kFailed));
  CHECK(holds(finding.advice, "run.dir"));
}

TEST_CASE("a port in use fails and names it") {
  RunConfig config;
  config.fleet.bind = "tcp://127.0.0.1:1";
  const Finding low = found_with(config, "port");
  CHECK(holds(low.text, "127.0.0.1:1"));
  config.fleet.bind = "tcp://192.0.2.1:5555";  // of no machine
  const Finding foreign = found_with(config, "port");
  CHECK((foreign.verdict == Verdict::kFailed));
  CHECK(holds(foreign.text, "192.0.2.1:5555"));
  CHECK(holds(foreign.advice, "fleet.bind"));
  config.fleet.bind = "tcp://127.0.0.1:*";
  CHECK((found_with(config, "port").verdict == Verdict::kOk));
}

TEST_CASE("a device that this machine lacks fails") {
  RunConfig config;
  config.actors.device = "cuda:99";
  CHECK((found_with(config, "devices").verdict == Verdict::kFailed));
}

TEST_CASE("a run's model and prompts are loaded") {
  const TinyModel model;
  std::filesystem::create_directory(model.file("prompts"));
  for (const char* list : {"train", "eval"}) write_file(model.file(fmt::format("prompts/{}.txt", list)), "a red star\ntwo blue rings\n");
  RunConfig config = model.config();
  config.eval.prompts = 2;
  for (const auto& finding : diagnose_run(config)) CHECK_MESSAGE((finding.verdict == Verdict::kOk), finding.text);
  config.eval.prompts = 3;
  CHECK((finding_of(diagnose_run(config), "prompts").verdict == Verdict::kFailed));
  std::filesystem::remove(model.file("unet/diffusion_pytorch_model.safetensors"));
  const Finding broken = finding_of(diagnose_run(config), "model");
  CHECK((broken.verdict == Verdict::kFailed));
  CHECK((broken.code == ExitCode::kData));
  CHECK(holds(broken.text, "unet"));
}

TEST_CASE("the command ends with 3 for a missing model, says so and checks the rest") {
  const TemporaryFolder folder;
  const CapturedRun run = run_nabla({"doctor", "pretrained.model=/no/such/model", "run.dir=" + folder.file("run")});
  CHECK(run.code == 3);
  CHECK(holds(run.out, "failed   model"));
  CHECK(holds(run.out, "/no/such/model"));
  CHECK(holds(run.out, "runs folder"));
  CHECK(run_nabla({"doctor", "training.updates=-1"}).code == 2);
}
