#include "tests/structure/include_rules.h"
#include "tests/testing.h"

using namespace nabla;

namespace {

std::string fault_of(const std::string& path, const std::string& line) {
  return joined(
      include_violations({{"learner/CMakeLists.txt", "add_library(learner_core STATIC\n  ledger.cpp\n)\n"}, {path, line + "\n"}}));
}

bool fails(const std::string& path, const std::string& line) { return !fault_of(path, line).empty(); }

}  // namespace

TEST_CASE("the project keeps its walls") {
  const std::vector<std::string> faults = include_violations(read_project());
  CHECK_MESSAGE(faults.empty(), joined(faults));
}

TEST_CASE("actors and learner never include each other") {
  CHECK(fails("actors/actor.cpp", "#include \"learner/ledger.h\""));
  CHECK(fails("learner/ledger.cpp", "#include \"actors/actor.h\""));
  CHECK(fault_of("launch/commands/train.cpp", "#include \"actors/actor.h\"") == "");
}

TEST_CASE("protocol and the networks never include each other") {
  CHECK(fails("protocol/codec.cpp", "#include \"common/diffusion/unet.h\""));
  CHECK(fails("common/diffusion/unet.cpp", "#include \"protocol/record.h\""));
  CHECK(fault_of("protocol/codec.cpp", "#include \"common/error.h\"") == "");
}

TEST_CASE("common includes nothing above it") {
  CHECK(fails("common/error.cpp", "#include \"learner/ledger.h\""));
  CHECK(fails("common/error.cpp", "#include \"launch/command.h\""));
  CHECK(fails("actors/actor.cpp", "#include \"tests/testing.h\""));
}

TEST_CASE("a fault names the file and the line") {
  CHECK(fault_of("actors/actor.cpp", "\n  #  include \"learner/ledger.h\"").find("actors/actor.cpp:2: ") != std::string::npos);
}

TEST_CASE("project includes are paths from the root") {
  CHECK(fails("protocol/codec.cpp", "#include \"codec.h\""));
  CHECK(fails("protocol/codec.cpp", "#include \"../common/error.h\""));
}

TEST_CASE("the umbrella header of torch is refused everywhere") {
  // In two pieces, so that a search for the real thing finds none.
  const std::string whole_torch = "#include <torch/" "torch.h>";
  CHECK(fails("learner/trainer.cpp", whole_torch));
  CHECK(fails("tests/learner/trainer_test.cpp", whole_torch));
  CHECK(fault_of("learner/trainer.cpp", "#include <torch/types.h>") == "");
}

TEST_CASE("folders without torch see its tensor type at most") {
  CHECK(fails("common/files.cpp", "#include <torch/types.h>"));
  CHECK(fails("common/files.cpp", "#include \"common/diffusion/tensors.h\""));
  CHECK(fails("protocol/codec.h", "#include <c10/core/Device.h>"));
  CHECK(fails("learner/ledger.h", "#include <ATen/ATen.h>"));
  CHECK(fails("common/device/geglu.cu", "#include <ATen/core/Tensor.h>"));
  CHECK(fault_of("common/files.cpp", "#include <ATen/core/Tensor.h>") == "");
  CHECK(fault_of("common/diffusion/unet.cpp", "#include <torch/types.h>") == "");
}

TEST_CASE("libraries stay in their folders and out of headers") {
  CHECK(fails("actors/actor.cpp", "#include <yaml-cpp/yaml.h>"));
  CHECK(fails("learner/learner.cpp", "#include <CLI/CLI.hpp>"));
  CHECK(fails("protocol/codec.cpp", "#include <boost/asio.hpp>"));
  CHECK(fails("launch/main.cpp", "#include <zmq.h>"));
  CHECK(fails("launch/main.cpp", "#include <torch/csrc/distributed/c10d/Store.hpp>"));
  CHECK(fails("common/zip_archive.cpp", "#include <zlib.h>"));
  CHECK(fails("protocol/wire_socket.h", "#include <zmq.hpp>"));
  CHECK(fails("protocol/codec.h", "#include <msgpack.hpp>"));
  CHECK(fails("launch/yaml_config.h", "#include <yaml-cpp/yaml.h>"));
  CHECK(fault_of("launch/yaml_config.cpp", "#include <yaml-cpp/yaml.h>") == "");
  CHECK(fault_of("tests/protocol/hostile_peer_test.cpp", "#include <zmq.h>") == "");
}

TEST_CASE("a fourth source that sees ZeroMQ is one too many") {
  std::vector<SourceFile> files;
  for (const std::string name : {"a", "b", "c"}) files.push_back({"protocol/" + name + ".cpp", "#include <zmq.h>\n"});
  CHECK(include_violations(files).empty());
  files.push_back({"protocol/d.cpp", "#include <zmq.hpp>\n"});
  CHECK(include_violations(files).size() == 1);
}

TEST_CASE("doctest comes through the tests' own header") {
  CHECK(fails("tests/common/queue_test.cpp", "#include <doctest/doctest.h>"));
  CHECK(fault_of("tests/testing.h", "#include <doctest/doctest.h>") == "");
}
