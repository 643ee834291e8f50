#include "launch/conversion.h"

#include "common/image_png.h"
#include "launch/weights_inspection.h"
#include "tests/actors/tiny_model.h"
#include "tests/common/error_check.h"
#include "tests/diffusion/small_model.h"
#include "tests/diffusion/torch_writer.h"
#include "tests/launch/captured_run.h"

#include <nlohmann/json.hpp>

#include <limits>

using namespace nabla;

namespace fs = std::filesystem;

namespace {

std::string torch_path(const std::string& name) { return parity_file("torch_files/" + name); }

void check_equal(const TensorMap& tensors, const TensorMap& expected) {
  REQUIRE(tensors.size() == expected.size());
  for (const auto& [name, tensor] : tensors) {
    INFO(name);
    REQUIRE(expected.contains(name));
    CHECK((tensor.scalar_type() == expected.at(name).scalar_type()));
    CHECK(at::equal(tensor.nan_to_num(7.0), expected.at(name).nan_to_num(7.0)));
  }
}

std::size_t entries_in(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// One that is refused and leaves no trace in the target's folder.
template <class... Parts>
void check_refused(ExitCode code, const ConversionOptions& options, const Parts&... parts) {
  const std::string folder = fs::path(options.target).parent_path().string();
  const std::size_t before = entries_in(folder);
  check_error(
      code, [&] { convert_weights(options); }, parts...);
  CHECK(entries_in(folder) == before);
}

}  // namespace

TEST_CASE("pickled tensors become the safetensors file that torch and safetensors make of them") {
  const TemporaryFolder folder;
  for (const char* name : {"views.pth", "module.bin", "trainer.ckpt"}) {
    const std::string stem = fs::path(name).stem().string(), target = folder.file(stem + ".safetensors");
    CHECK(run_nabla({"convert", torch_path(name), target}).code == 0);
    check_equal(load_tensors(target), load_tensors(torch_path("expected_" + stem + ".safetensors")));
  }
}

TEST_CASE("--dtype casts floating-point tensors and leaves the others alone") {
  const TemporaryFolder folder;
  CHECK(run_nabla({"convert", torch_path("dtypes.pt"), folder.file("a.safetensors"), "--dtype", "bfloat16"}).code == 0);
  const TensorMap tensors = load_tensors(folder.file("a.safetensors"));
  CHECK((tensors.at("float64").scalar_type() == at::kBFloat16));
  CHECK((tensors.at("int16").scalar_type() == at::kShort));
  CHECK((tensors.at("bool").scalar_type() == at::kBool));
}

TEST_CASE("a model goes through a single file and back without a change") {
  const TemporaryFolder folder;
  const std::string file = folder.file("model.safetensors"), again = folder.file("again"), digest = small_model().folder().digest();
  const CapturedRun run = run_nabla({"convert", small_model().path(), file});
  CHECK(run.code == 0);
  CHECK(run.out.find("note:") == std::string::npos);
  CHECK(run_nabla({"convert", file, again}).code == 3);  // no tokenizer
  SmallModel::write_tokenizer_beside(folder.path());
  CHECK(run_nabla({"convert", file, again + "/"}).code == 0);  // as a shell completes it
  CHECK(ModelFolder::open(again).digest() == digest);
  for (const char* name : {"tokenizer/vocab.json", "tokenizer/merges.txt"})
    CHECK(read_file(again + "/" + name, 1 << 24) == read_file(small_model().path() + "/" + name, 1 << 24));
  CHECK(inspect_model(again)["components"]["unet"].contains("missing") == false);
  check_equal(single_file_tensors(*ModelFolder::open(again).source()), small_model().single());
}

TEST_CASE("a .ckpt and a folder of .bin files become folders of safetensors") {
  const TemporaryFolder folder;
  write_torch_file(folder.file("model.ckpt"), small_model().single(), StateDict::kWrapped);
  SmallModel::write_tokenizer_beside(folder.path());
  convert_weights({.source = folder.file("model.ckpt"), .target = folder.file("from_ckpt"), .dtype = {}, .like = {}});
  CHECK(ModelFolder::open(folder.file("from_ckpt")).digest() == small_model().folder().digest());
  fs::copy(small_model().path(), folder.file("pickled"), fs::copy_options::recursive);
  const std::string weights = folder.file("pickled/unet/diffusion_pytorch_model");
  write_torch_file(weights + ".bin", load_tensors(weights + ".safetensors"));
  fs::remove(weights + ".safetensors");
  convert_weights({.source = folder.file("pickled"), .target = folder.file("from_bin"), .dtype = "float16", .like = {}});
  const auto json = inspect_model(folder.file("from_bin"));
  CHECK(json["components"]["unet"]["dtypes"].dump() == R"(["F16"])");
  CHECK(fs::exists(folder.file("from_bin/unet/diffusion_pytorch_model.safetensors")));
}

TEST_CASE("a model whose configuration a single file cannot tell comes back with --like") {
  const TinyModel tiny;
  const TemporaryFolder folder;
  const std::string file = folder.file("tiny.safetensors");
  const CapturedRun run = run_nabla({"convert", tiny.path(), file});
  CHECK(run.code == 0);
  CHECK(run.out.find("note: a single file carries no configuration") != std::string::npos);
  CHECK(run.out.find("--like") != std::string::npos);
  CHECK(run_nabla({"convert", file, folder.file("guessed")}).code == 3);
  CHECK_FALSE(fs::exists(folder.file("guessed")));
  CHECK(run_nabla({"convert", file, folder.file("again"), "--like", tiny.path()}).code == 0);
  CHECK(ModelFolder::open(folder.file("again")).digest() == tiny.open().digest());
  CHECK(ModelFolder::open(folder.file("again")).load_tokenizer().encode("a red star") == tiny.open().load_tokenizer().encode("a red star"));
}

TEST_CASE("nothing is overwritten, and what cannot be written is a usage error") {
  const TemporaryFolder folder;
  const std::string source = torch_path("views.pth");
  write_file(folder.file("there.safetensors"), "precious");
  fs::create_directories(folder.file("folder"));
  check_refused(ExitCode::kUsage, {source, folder.file("there.safetensors"), "", ""}, "there.safetensors", "nothing is overwritten");
  CHECK(read_file(folder.file("there.safetensors"), 100) == "precious");
  check_refused(ExitCode::kUsage, {small_model().path(), folder.file("folder"), "", ""}, "nothing is overwritten");
  check_refused(ExitCode::kUsage, {source, folder.file("new.ckpt"), "", ""}, "not written");
  check_refused(ExitCode::kUsage, {source, folder.file("new.safetensors"), "int8", ""}, "int8", "bfloat16");
  check_refused(ExitCode::kUsage, {source, folder.file("new.safetensors"), "", small_model().path()}, "--like");
  check_error(
      ExitCode::kUsage,
      [&] {
        convert_weights({source, folder.file("absent/new.safetensors"), "", ""});
      },
      "absent");
}

TEST_CASE("bad sources are data errors that leave nothing behind") {
  const TemporaryFolder folder;
  check_refused(ExitCode::kData, {folder.file("absent.ckpt"), folder.file("new.safetensors"), "", ""}, "absent.ckpt");
  check_refused(ExitCode::kData, {torch_path("evil.pt"), folder.file("new.safetensors"), "", ""}, "posix.system");
  check_refused(ExitCode::kData, {torch_path("views.pth"), folder.file("new"), "", ""}, "no text_encoder");
  TensorMap tensors = small_model().single();
  tensors["model.diffusion_model.out.2.bias"] = at::full({4}, std::numeric_limits<float>::quiet_NaN());
  save_tensors(folder.file("nan.safetensors"), tensors);
  check_refused(ExitCode::kData, {folder.file("nan.safetensors"), folder.file("new"), "", ""}, "conv_out.bias", "NaN");
  tensors.erase("model.diffusion_model.out.2.bias");
  save_tensors(folder.file("short.safetensors"), tensors);
  check_refused(ExitCode::kData, {folder.file("short.safetensors"), folder.file("new"), "", ""}, "conv_out.bias", "missing");
}

TEST_CASE("pictures sampled from a single file are those of its folder") {
  const TemporaryFolder folder;
  SmallModel::write_tokenizer_beside(folder.path());
  save_tensors(folder.file("model.safetensors"), small_model().single());
  for (const std::string& model : {small_model().path(), folder.file("model.safetensors")}) {
    const std::string out = folder.file(model == small_model().path() ? "a" : "b");
    CHECK(run_nabla({"sample", "--model", model, "--prompt", "a cat", "--steps", "2", "--height", "16", "--width", "16", "--out", out})
              .code == 0);
  }
  CHECK(read_png(folder.file("a/000.png")).pixels == read_png(folder.file("b/000.png")).pixels);
}
