#include "common/prompt_source.h"
#include "common/files.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <set>

namespace nabla {

namespace {

RunConfig config_with_prompts(const TemporaryFolder& folder) {
  std::filesystem::create_directories(folder.file("prompts"));
  write_file(folder.file("prompts/train.txt"), "a red star\n\ntwo blue rings\r\nthree crosses");
  write_file(folder.file("prompts/eval.txt"), "a white circle\n");
  RunConfig config;
  config.pretrained.model = folder.path();
  config.eval.prompts = 1;
  return config;
}

}  // namespace

TEST_CASE("prompts are the lines of the file that hold text") {
  TemporaryFolder folder;
  const RunPrompts prompts = open_prompts(config_with_prompts(folder));
  REQUIRE(prompts.training.size() == 3);
  CHECK(prompts.training.at(1).text == "two blue rings");
  CHECK(prompts.training.at(2).text == "three crosses");
  CHECK(prompts.evaluation.at(0).text == "a white circle");
  CHECK(prompts.training.digest() != prompts.evaluation.digest());
  check_error(
      ExitCode::kFailure, [&] { prompts.training.at(3); }, "index 3", "3 prompts");
}

TEST_CASE("the prompt of a slot depends on the seed and the slot alone, and all prompts come") {
  const PromptSource prompts({"a", "b", "c"});
  std::set<std::string> drawn;
  for (std::int64_t slot = 0; slot < 50; ++slot) {
    CHECK(prompts.draw(7, slot).text == prompts.draw(7, slot).text);
    drawn.insert(prompts.draw(7, slot).text);
  }
  CHECK(drawn.size() == 3);
}

TEST_CASE("files name the training and the evaluation prompts where the configuration says so") {
  TemporaryFolder folder;
  RunConfig config = config_with_prompts(folder);
  config.experiment.prompt_fn = "file";
  config.experiment.prompt_file = folder.file("prompts/train.txt");
  CHECK(open_prompts(config).evaluation.at(0).text == "a red star");
  config.eval.prompt_file = folder.file("prompts/eval.txt");
  CHECK(open_prompts(config).evaluation.at(0).text == "a white circle");
  config.eval.prompts = 2;
  check_error(
      ExitCode::kData, [&] { open_prompts(config); }, "eval.txt", "1 prompts", "asks for 2");
}

TEST_CASE("prompts that are not UTF-8, too long or missing are refused with file and line") {
  TemporaryFolder folder;
  const auto refuse = [&](const std::string& content, const std::string& part) {
    write_file(folder.file("p.txt"), content);
    check_error(
        ExitCode::kData, [&] { PromptSource::from_file(folder.file("p.txt")); }, "p.txt", part);
  };
  refuse("fine\n\nbroken \xFF\n", ":3:");
  refuse("overlong \xC0\xAF", ":1:");
  refuse("surrogate \xED\xA0\x80", "not UTF-8");
  refuse(std::string(4097, 'x'), "4097 bytes");
  refuse("\n\r\n", "no prompt");
  write_file(folder.file("p.txt"), "caf\xC3\xA9 \xF0\x9F\x98\x80\n");
  CHECK(PromptSource::from_file(folder.file("p.txt")).size() == 1);
}

}  // namespace nabla
