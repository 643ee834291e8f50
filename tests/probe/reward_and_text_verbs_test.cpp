#include "common/files.h"
#include "common/json_file.h"
#include "tests/probe/probe_bench.h"

using namespace nabla;

namespace {

std::string scorer_folder() { return parity_file("reward/resized"); }

void check_reward(const ProbeBench& bench, const std::vector<std::string>& words, const Tensor& score, const Tensor& gradient,
                  double tolerance) {
  const TensorMap output = bench.compute("reward", words);
  REQUIRE(output.size() == 2);
  REQUIRE(output.at("score").sizes() == score.sizes());
  REQUIRE(output.at("grad_image").sizes() == gradient.sizes());
  CHECK(relative_error(output.at("score"), score) <= tolerance);
  CHECK(relative_error(output.at("grad_image"), gradient) <= tolerance);
}

// The ids of the oracle, whose padding is cut to one.
std::vector<std::int64_t> padded(const nlohmann::ordered_json& ids, std::size_t length) {
  auto padded = ids.get<std::vector<std::int64_t>>();
  padded.resize(length, padded.back());
  return padded;
}

std::vector<nlohmann::ordered_json> printed_objects(const std::string& printed) {
  std::vector<nlohmann::ordered_json> objects;
  std::istringstream lines(printed);
  for (std::string line; std::getline(lines, line);) objects.push_back(parse_json(line, "standard output"));
  return objects;
}

}  // namespace

TEST_CASE("reward gives the aesthetic scorer's score and gradient and names what decides them") {
  const ProbeBench bench;
  const TensorMap bundle = load_tensors(scorer_folder() + "/bundle.safetensors");
  bench.write_input({{"image", bundle.at("pictures")}});
  const std::vector<std::string> words{"--reward", "aesthetic_score", "--reward-model", scorer_folder(), "--dtype"};
  for (const auto& [dtype, tolerance] : {std::pair{"float32", 1e-5}, {"float64", 1e-10}, {"bfloat16", 0.1}}) {
    INFO(dtype);
    auto with_dtype = words;
    with_dtype.emplace_back(dtype);
    check_reward(bench, with_dtype, bundle.at("scores"), bundle.at("gradient"), tolerance);
  }
  const auto spec =
      bench.run("reward", {"--reward", "aesthetic_score", "--reward-model", scorer_folder()}).facts().at("spec").get<std::string>();
  check_mentions(spec, {"12x12 bicubic", "mean [", "std ["});
}

TEST_CASE("reward gives the analytic rewards without a model") {
  const ProbeBench bench;
  const TensorMap bundle = load_tensors(parity_file("reward/analytic.safetensors"));
  bench.write_input({{"image", bundle.at("pictures")}});
  check_reward(bench, {"--reward", "mean-red"}, bundle.at("mean_red_scores"), bundle.at("mean_red_gradient"), 1e-5);
  check_reward(bench, {"--reward", "lantern"}, bundle.at("lantern_scores"), bundle.at("lantern_gradient"), 1e-5);
  check_reward(bench, {"--reward", "mean-red", "--dtype", "float64"}, bundle.at("mean_red_scores"), bundle.at("mean_red_gradient"), 1e-10);
  // The oracle has lantern's window in float32.
  check_reward(bench, {"--reward", "lantern", "--dtype", "float64"}, bundle.at("lantern_scores"), bundle.at("lantern_gradient"), 1e-7);
}

TEST_CASE("reward wants one prompt a picture, and a line ends at the line feed alone") {
  const ProbeBench bench;
  bench.write_input({{"image", at::rand({3, 3, 4, 4})}});
  const auto run_with = [&](const std::string& prompts) {
    write_file(bench.file("prompts.txt"), prompts);
    return bench.run("reward", {"--reward", "mean-red", "--prompts", bench.file("prompts.txt")});
  };
  CHECK(run_with("one\r\n\ntwo\rstill two").code == 0);
  const ProbeOutcome outcome = run_with("one\ntwo\n");
  CHECK(outcome.code == 3);
  check_mentions(outcome.message, {"prompts.txt", "2 lines", "3 pictures"});
}

TEST_CASE("reward refuses a name that is not known and a missing folder") {
  const ProbeBench bench;
  bench.write_input({{"image", at::rand({1, 3, 4, 4})}});
  const ProbeOutcome unknown = bench.run("reward", {"--reward", "mean-rad"});
  CHECK(unknown.code == 2);
  check_mentions(unknown.message, {"mean-rad", "mean-red"});
  const ProbeOutcome missing = bench.run("reward", {"--reward", "aesthetic", "--reward-model", "/no/such/reward"});
  CHECK(missing.code == 3);
  check_mentions(missing.message, {"/no/such/reward"});
}

TEST_CASE("tokenize prints the ids that transformers gives, one object a line of the file") {
  const ProbeBench bench;
  const auto oracle = read_json(parity_file("token_ids.json"));
  std::string file;
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < oracle.at("prompts").size(); ++i) {
    const auto prompt = oracle.at("prompts")[i].get<std::string>();
    if (prompt.find('\n') != std::string::npos) continue;
    chosen.push_back(i);
    file += prompt + "\n";
  }
  write_file(bench.file("texts.txt"), file);
  const ProbeOutcome outcome = run_probe({"tokenize", "--tokenizer", "clip", "--model", bench.model(), "--file", bench.file("texts.txt")});
  REQUIRE(outcome.code == 0);
  const auto objects = printed_objects(outcome.printed);
  REQUIRE(objects.size() == chosen.size());
  for (std::size_t line = 0; line < chosen.size(); ++line) {
    CHECK(objects[line].at("text") == oracle.at("prompts")[chosen[line]]);
    CHECK(objects[line].at("ids").get<std::vector<std::int64_t>>() == padded(oracle.at("pocket")[chosen[line]], 16));
  }
}

TEST_CASE("tokenize takes one text as it is, the empty one and one with a line feed too") {
  const ProbeBench bench;
  const auto oracle = read_json(parity_file("token_ids.json"));
  for (std::size_t i = 0; i < 8; ++i) {
    const auto prompt = oracle.at("prompts")[i].get<std::string>();
    INFO("prompt ", i, ": ", prompt);
    const auto facts = run_probe({"tokenize", "--model", bench.model(), "--text", prompt}).facts();
    CHECK(facts.at("text") == prompt);
    CHECK(facts.at("ids").get<std::vector<std::int64_t>>() == padded(oracle.at("pocket")[i], 16));
  }
}

TEST_CASE("tokenize knows open_clip's rule and padding, with a model's vocabulary or CLIP's merges alone") {
  const ProbeBench bench;
  const auto ids = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"tokenize", "--tokenizer", "clip-open", "--text", "a red &amp; \u201cstar\u201d"});
    return run_probe(words).facts().at("ids").get<std::vector<std::int64_t>>();
  };
  const auto of_model = ids({"--model", bench.model()}), of_merges = ids({"--vocabulary", parity_file("pocket_tokenizer/merges.txt")});
  CHECK(of_model.size() == 16);
  CHECK(of_model.back() == 0);
  CHECK(of_merges.size() == 77);
  CHECK(std::equal(of_model.begin(), of_model.end(), of_merges.begin()));
}

TEST_CASE("tokenize pads BERT's rows to the longest of the file") {
  const ProbeBench bench;
  write_file(bench.file("texts.txt"), "red\na large red star\n");
  const ProbeOutcome outcome =
      run_probe({"tokenize", "--tokenizer", "bert", "--vocabulary", parity_file("bert_vocabulary.txt"), "--file", bench.file("texts.txt")});
  REQUIRE(outcome.code == 0);
  const auto objects = printed_objects(outcome.printed);
  REQUIRE(objects.size() == 2);
  const auto first = objects[0].at("ids").get<std::vector<std::int64_t>>(), second = objects[1].at("ids").get<std::vector<std::int64_t>>();
  CHECK(first.size() == second.size());
  CHECK(first.back() == 0);
  CHECK(second.back() == 3);  // [SEP]
}

TEST_CASE("tokenize refuses unknown tokenizers and damaged vocabularies, and asks for one source of text and a vocabulary") {
  const ProbeBench bench;
  const auto refuse = [&](std::vector<std::string> words, int code, const std::vector<std::string>& parts) {
    words.insert(words.begin(), "tokenize");
    const ProbeOutcome outcome = run_probe(words);
    CHECK(outcome.code == code);
    CHECK(outcome.printed.empty());
    check_mentions(outcome.message, parts);
  };
  refuse({"--tokenizer", "t5", "--text", "a"}, 2, {"t5", "clip"});
  for (const char* tokenizer : {"clip", "clip-open", "bert"})
    refuse({"--tokenizer", tokenizer, "--text", "a"}, 2, {tokenizer, "--model", "--vocabulary"});
  refuse({"--tokenizer", "bert", "--text", "a", "--vocabulary", parity_file("pocket_tokenizer/merges.txt")}, 3, {"merges.txt", "[PAD]"});
  refuse({"--tokenizer", "bert", "--text", "a", "--model", bench.model()}, 3, {"vocab.txt"});
  refuse({"--model", bench.model()}, 2, {"--text", "--file"});
  refuse({"--model", bench.model(), "--text", "a", "--file", "b"}, 2, {"--text", "--file"});
  refuse({"--model", bench.model(), "--file", "/no/such/file"}, 3, {"/no/such/file"});
  write_file(bench.file("bad.txt"), "fine\n\xff\n");
  refuse({"--model", bench.model(), "--file", bench.file("bad.txt")}, 3, {"UTF-8"});
}
