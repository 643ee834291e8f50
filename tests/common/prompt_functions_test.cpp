#include "common/prompt_functions.h"
#include "common/files.h"
#include "common/prompt_source.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"

#include <nlohmann/json.hpp>

#include <set>

namespace nabla {

namespace {

RunConfig config_of(const std::string& prompt_fn, const std::string& prompt_file = "") {
  RunConfig config;
  config.experiment.prompt_fn = prompt_fn;
  config.experiment.prompt_file = prompt_file;
  return config;
}

// benchmark_<style>.json with prompts "<style> 0", "<style> 1", ...
void write_style(const TemporaryFolder& folder, const std::string& style, int count) {
  nlohmann::json prompts = nlohmann::json::array();
  for (int i = 0; i < count; ++i) prompts.push_back(style + " " + std::to_string(i));
  write_file(folder.file("benchmark_" + style + ".json"), prompts.dump());
}

std::int64_t count_of(const std::vector<std::string>& prompts, const std::string& start) {
  return std::count_if(prompts.begin(), prompts.end(), [&](const std::string& prompt) { return prompt.starts_with(start); });
}

}  // namespace

TEST_CASE("simple_animals are 45 different animals, or the lines of a file") {
  const PromptLists lists = load_prompt_lists(config_of("simple_animals"));
  CHECK(lists.training.size() == 45);
  CHECK(std::set<std::string>(lists.training.begin(), lists.training.end()).size() == 45);
  CHECK(lists.evaluation == lists.training);
  const TemporaryFolder folder;
  write_file(folder.file("animals.txt"), "okapi\nquokka\n");
  CHECK(load_prompt_lists(config_of("simple_animals", folder.file("animals.txt"))).training == std::vector<std::string>{"okapi", "quokka"});
}

TEST_CASE("HPDv2's prompt functions join their styles and hold out the first ten of each") {
  const TemporaryFolder folder;
  write_style(folder, "photo", 13);
  write_style(folder, "paintings", 12);
  const PromptLists both = load_prompt_lists(config_of("hpd_photo_painting", folder.path()));
  CHECK(both.training == std::vector<std::string>{"photo 10", "photo 11", "photo 12", "paintings 10", "paintings 11"});
  CHECK(count_of(both.evaluation, "photo") == 10);
  CHECK(count_of(both.evaluation, "paintings") == 10);
  CHECK(load_prompt_lists(config_of("hpd_paintings", folder.path())).training.size() == 2);
}

TEST_CASE("the release's growing list is its limit, paintings alone") {
  const TemporaryFolder folder;
  write_style(folder, "photo", 13);
  write_style(folder, "paintings", 12);
  RunConfig config = config_of("hpd_photo_painting", folder.path());
  config.compat.prompts = "paintings_only";
  CHECK(load_prompt_lists(config).training == std::vector<std::string>{"paintings 10", "paintings 11"});
}

TEST_CASE("drawbench leaves two categories out and holds out the first two of each other") {
  const TemporaryFolder folder;
  write_file(folder.file("d.csv"),
             "Prompts,Category\r\na red cup.,Colors\n\"a cup, green\",Colors\n\"the \"\"blue\"\" cup\",Colors\nCoopp,Misspellings\n"
             "one ox,Counting\ntwo oxen,Counting\nthree oxen,Counting");
  const PromptLists lists = load_prompt_lists(config_of("drawbench", folder.file("d.csv")));
  CHECK(lists.training == std::vector<std::string>{"the \"blue\" cup", "three oxen"});
  CHECK(lists.evaluation == std::vector<std::string>{"a red cup.", "a cup, green", "one ox", "two oxen"});
}

TEST_CASE("ImageNet's prompt functions take their lines of the list of classes") {
  const TemporaryFolder folder;
  std::string names;
  for (int i = 0; i < 1000; ++i) names += "class " + std::to_string(i) + "\n";
  write_file(folder.file("classes.txt"), names);
  const auto dogs = load_prompt_lists(config_of("imagenet_dogs", folder.file("classes.txt"))).training;
  CHECK(dogs.size() == 118);
  CHECK(dogs.front() == "class 151");
  CHECK(load_prompt_lists(config_of("imagenet_animals", folder.file("classes.txt"))).training.back() == "class 397");
  CHECK(load_prompt_lists(config_of("imagenet_all", folder.file("classes.txt"))).training.size() == 1000);
}

TEST_CASE("lists that are missing or broken are refused with file and place") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& prompt_fn, const std::string& file, const auto&... parts) {
    check_error(
        ExitCode::kData, [&] { load_prompt_lists(config_of(prompt_fn, folder.file(file))); }, parts...);
  };
  refused("hpd_photo", "", "benchmark_photo.json");
  write_file(folder.file("benchmark_photo.json"), "{}");
  refused("hpd_photo", "", "benchmark_photo.json", "JSON list of texts");
  write_file(folder.file("benchmark_photo.json"), "[\"a\", 3]");
  refused("hpd_photo", "", "prompt 2 is not a text");
  write_file(folder.file("d.csv"), "prompt,kind\na,b\n");
  refused("drawbench", "d.csv", "columns Prompts and Category");
  write_file(folder.file("d.csv"), "Prompts,Category\na,b\nc\n");
  refused("drawbench", "d.csv", "row 3 has 1 fields");
  write_file(folder.file("c.txt"), "tench\n");
  refused("imagenet_dogs", "c.txt", "1 lines", "1000 class names");
}

TEST_CASE("a prompt function says which file it needs") {
  CHECK(needed_prompt_file("pocket").empty());
  CHECK(needed_prompt_file("simple_animals").empty());
  CHECK(needed_prompt_file("hpd_photo_painting").find("benchmark_photo.json, benchmark_paintings.json") != std::string::npos);
  for (const std::string& name : prompt_function_names()) {
    INFO(name);
    RunConfig config = config_of(name);
    if (needed_prompt_file(name).empty())
      validate(config);
    else
      check_error(
          ExitCode::kUsage, [&] { validate(config); }, name, "experiment.prompt_file", needed_prompt_file(name));
  }
}

TEST_CASE("a run on held-out prompts that are too few is refused with the list's origin") {
  const TemporaryFolder folder;
  write_style(folder, "photo", 20);
  RunConfig config = config_of("hpd_photo", folder.path());
  config.eval.prompts = 16;
  check_error(
      ExitCode::kData, [&] { open_prompts(config); }, folder.path(), "10 prompts", "asks for 16");
  config.eval.prompts = 10;
  CHECK(open_prompts(config).training.size() == 10);
}

}  // namespace nabla
