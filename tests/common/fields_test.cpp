#include "common/config/fields.h"
#include "tests/common/error_check.h"

#include <nlohmann/json.hpp>

namespace nabla {

namespace {

struct InnerConfig {
  double rate = 0.001;
  std::vector<std::int64_t> widths{32, 64};
};

struct SampleConfig {
  std::uint64_t seed = 0;
  std::string name = "plain";
  bool fast = false;
  InnerConfig inner;
  std::int64_t steps = 50;
  std::vector<std::string> tags;
  std::vector<double> weights{0.5};
};

}  // namespace

template <class Visitor>
void visit_fields(Visitor& visit, InnerConfig& config) {
  visit("rate", config.rate, "how fast");
  visit("widths", config.widths, "how wide");
}

template <class Visitor>
void visit_fields(Visitor& visit, SampleConfig& config) {
  visit("seed", config.seed, "the seed");
  visit("name", config.name, "the name");
  visit("fast", config.fast, "hurry");
  visit.group("inner", config.inner);
  visit("steps", config.steps, "how many");
  visit.alias("num_steps");
  visit("tags", config.tags, "labels");
  visit("weights", config.weights, "shares");
}

TEST_CASE("fields list path, type, help, default and value") {
  SampleConfig config;
  config.inner.rate = 2;
  const auto fields = fields_of(config);
  REQUIRE(fields.size() == 8);
  const Field& rate = find_field(fields, "inner.rate");
  CHECK(rate.type == "number");
  CHECK(rate.help == "how fast");
  CHECK(rate.default_text == "0.001");
  CHECK(rate.get() == "2");
  CHECK(find_field(fields, "inner.widths").get() == "[32, 64]");
  CHECK(find_field(fields, "tags").type == "list of texts");
}

TEST_CASE("numbers, booleans and lists are read in every spelling that users type") {
  SampleConfig config;
  const auto fields = fields_of(config);
  for (const char* assignment :
       {"inner.rate=1e4", "--config.steps=1e3", "fast=True", "--inner.widths=(8,16,)", "seed=18446744073709551615", "name=a=b"}) {
    apply_assignment(fields, assignment);
  }
  CHECK(config.inner.rate == 1e4);
  CHECK(config.steps == 1000);
  CHECK(config.fast);
  CHECK(config.inner.widths == std::vector<std::int64_t>{8, 16});
  CHECK(config.seed == 18446744073709551615u);
  CHECK(config.name == "a=b");
  apply_assignment(fields, "inner.widths=4,5");
  CHECK(config.inner.widths == std::vector<std::int64_t>{4, 5});
  apply_assignment(fields, "weights=[1e-3, 2]");
  CHECK(config.weights == std::vector<double>{1e-3, 2});
  apply_assignment(fields, "tags=[plain, \"with, comma\"]");
  CHECK(config.tags == std::vector<std::string>{"plain", "with, comma"});
  apply_assignment(fields, "tags=[]");
  CHECK(config.tags.empty());
  apply_assignment(fields, "fast=false");
  CHECK_FALSE(config.fast);
}

TEST_CASE("an alias sets the field it names") {
  SampleConfig config;
  set_field(fields_of(config), "num_steps", "7");
  CHECK(config.steps == 7);
}

TEST_CASE("a bad value names key, value and what was expected, and changes nothing") {
  SampleConfig config;
  const auto fields = fields_of(config);
  const auto refuse = [&](const char* assignment, const char* key, const char* value, const char* expected) {
    check_error(
        ExitCode::kUsage, [&] { apply_assignment(fields, assignment); }, key, value, expected);
  };
  refuse("steps=1.5", "steps", "1.5", "whole number");
  refuse("steps=many", "steps", "many", "whole number");
  refuse("steps=1e300", "steps", "1e300", "whole number");
  refuse("seed=-1", "seed", "-1", "from 0");
  refuse("inner.rate=fast", "inner.rate", "fast", "a number");
  refuse("inner.rate=nan", "inner.rate", "nan", "a number");
  refuse("inner.rate=1e4x", "inner.rate", "1e4x", "a number");
  refuse("inner.rate=", "inner.rate", "''", "a number");
  refuse("fast=yes", "fast", "yes", "true or false");
  refuse("inner.widths=[1, x]", "inner.widths", "x", "whole number");
  refuse("tags=[\"open]", "tags", "open", "double quotes");
  CHECK(config.steps == 50);
  CHECK(config.inner.widths == std::vector<std::int64_t>{32, 64});
}

TEST_CASE("an unknown key is answered with the nearest one") {
  SampleConfig config;
  const auto fields = fields_of(config);
  const auto refuse = [&](const char* assignment, const char* part) {
    check_error(
        ExitCode::kUsage, [&] { apply_assignment(fields, assignment); }, part);
  };
  refuse("inner.rtae=1", "unknown key 'inner.rtae'; did you mean 'inner.rate'?");
  refuse("rate=1", "did you mean 'inner.rate'?");
  refuse("sed=1", "did you mean 'seed'?");
  refuse("inner=1", "'inner' is a group");
  refuse("steps", "not an assignment");
  refuse("=5", "not an assignment");
}

TEST_CASE("the configuration prints as YAML with its help") {
  SampleConfig config;
  config.name = "has: colon # and \"quotes\"";
  config.tags = {"a b"};
  CHECK(to_yaml(fields_of(config)) ==
        "seed: 0  # the seed\n"
        "name: \"has: colon # and \\\"quotes\\\"\"  # the name\n"
        "fast: false  # hurry\n"
        "inner:\n"
        "  rate: 0.001  # how fast\n"
        "  widths: [32, 64]  # how wide\n"
        "steps: 50  # how many\n"
        "tags: [\"a b\"]  # labels\n"
        "weights: [0.5]  # shares\n");
  config.name = "";
  CHECK(to_yaml(fields_of(config)).find("name: \"\"  #") != std::string::npos);
  config.name = "runs/pocket-1.yaml";
  CHECK(to_yaml(fields_of(config)).find("name: runs/pocket-1.yaml  #") != std::string::npos);
}

TEST_CASE("every printed value reads back to itself") {
  SampleConfig config;
  config.inner.rate = 0.1 + 0.2;
  config.weights = {1e-300, 5e22};
  config.tags = {"quote \" and \\", ""};
  SampleConfig copy;
  const auto source = fields_of(config), target = fields_of(copy);
  for (std::size_t i = 0; i < source.size(); ++i) target[i].set(source[i].get());
  CHECK(copy.inner.rate == config.inner.rate);
  CHECK(copy.weights == config.weights);
  CHECK(copy.tags == config.tags);
}

TEST_CASE("the JSON schema lists types and defaults and closes every group") {
  SampleConfig config;
  const auto schema = nlohmann::json::parse(to_json_schema(fields_of(config), "sample"));
  CHECK(schema["title"] == "sample");
  CHECK(schema["additionalProperties"] == false);
  CHECK(schema["properties"]["inner"]["additionalProperties"] == false);
  CHECK(schema["properties"]["inner"]["properties"]["rate"]["type"] == "number");
  CHECK(schema["properties"]["inner"]["properties"]["widths"]["items"]["type"] == "integer");
  CHECK(schema["properties"]["inner"]["properties"]["widths"]["default"] == nlohmann::json{32, 64});
  CHECK(schema["properties"]["tags"]["items"]["type"] == "string");
  CHECK(schema["properties"]["name"]["default"] == "plain");
  CHECK(schema["properties"]["num_steps"]["type"] == "integer");
}

}  // namespace nabla
