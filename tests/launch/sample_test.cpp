#include "common/image_png.h"
#include "common/prompt_source.h"
#include "launch/picture_grid.h"
#include "launch/picture_sampler.h"
#include "tests/actors/tiny_model.h"
#include "tests/common/error_check.h"
#include "tests/launch/captured_run.h"

#include <nlohmann/json.hpp>

using namespace nabla;

namespace {

const TinyModel& model() {
  static const TinyModel tiny;
  return tiny;
}

SampleOptions options_for(const TemporaryFolder& folder) {
  SampleOptions options;
  options.model = model().path();
  options.prompts = {"a red star", "two blue rings"};
  options.steps = 4;
  options.out = folder.file("out");
  options.trajectory_file = folder.file("trajectory.safetensors");
  return options;
}

TensorMap sampled(const SampleOptions& options) {
  sample_pictures(options);
  TensorMap tensors = load_tensors(options.trajectory_file);
  for (auto& [name, tensor] : tensors) tensor = tensor.clone();
  return tensors;
}

std::string bytes_of(const std::string& path) { return read_file(path, 1 << 24); }

// Noise that is not that of any seed.
void write_noise(const std::string& path, std::int64_t steps = 4, std::int64_t pictures = 2) {
  save_tensors(path, {{"start_noise", draw({pictures, 4, 8, 8}, 500)}, {"step_noise", draw({steps, pictures, 4, 8, 8}, 501)}});
}

}  // namespace

TEST_CASE("the same seed gives the same files, another seed other pictures") {
  const TemporaryFolder first, second, third;
  SampleOptions options = options_for(first);
  sample_pictures(options);
  sample_pictures(options_for(second));
  for (const char* file : {"out/000.png", "out/001.png", "out/grid.png", "trajectory.safetensors"})
    CHECK_MESSAGE(bytes_of(first.file(file)) == bytes_of(second.file(file)), file);
  options = options_for(third);
  options.seed = 1;
  sample_pictures(options);
  CHECK(read_png(first.file("out/000.png")).pixels != read_png(third.file("out/000.png")).pixels);
}

TEST_CASE("a picture depends on its prompt and number, not on its neighbours") {
  const TemporaryFolder both, one;
  SampleOptions options = options_for(one);
  options.prompts = {"a red star"};
  const TensorMap together = sampled(options_for(both)), alone = sampled(options);
  CHECK(at::allclose(together.at("latents").narrow(1, 0, 1), alone.at("latents"), 1e-4, 1e-5));
  CHECK_FALSE(std::filesystem::exists(one.file("out/grid.png")));
}

TEST_CASE("many prompts are worked on in parts and come out the same") {
  const TemporaryFolder many, few;
  SampleOptions options = options_for(many);
  options.prompts.assign(34, "a red star");
  options.steps = 2;
  const TensorMap all = sampled(options);
  CHECK(all.at("images").size(0) == 34);
  CHECK(all.at("latents").sizes() == at::IntArrayRef({3, 34, 4, 8, 8}));
  write_noise(few.file("noise"), 2, 34);
  options.noise_file = few.file("noise");
  const TensorMap noisy = sampled(options);
  CHECK(at::equal(noisy.at("latents")[0], load_tensors(few.file("noise")).at("start_noise")));
  // Picture 33 is in the second part: its steps must take its own noise.
  SampleOptions last = options_for(few);
  last.prompts = {"a red star"};
  last.steps = 2;
  const TensorMap noise = load_tensors(few.file("noise"));
  save_tensors(few.file("last"), {{"start_noise", noise.at("start_noise").narrow(0, 33, 1).contiguous()},
                                  {"step_noise", noise.at("step_noise").narrow(1, 33, 1).contiguous()}});
  last.noise_file = few.file("last");
  CHECK(at::allclose(noisy.at("latents").narrow(1, 33, 1), sampled(last).at("latents"), 1e-4, 1e-5));
}

TEST_CASE("a dumped trajectory follows the transition kernel with the given noise") {
  const TemporaryFolder folder;
  SampleOptions options = options_for(folder);
  write_noise(folder.file("noise"));
  options.noise_file = folder.file("noise");
  const TensorMap noise = load_tensors(folder.file("noise")), trajectory = sampled(options);
  const StepTable table = make_step_table(model().open().scheduler(), Sampler::kDdim, 4, 1.0);
  CHECK(at::equal(trajectory.at("latents")[0], noise.at("start_noise")));
  for (std::int64_t step = 0; step < 4; ++step) {
    const Transition& transition = table.transitions[static_cast<std::size_t>(step)];
    const Tensor mean = transition_mean(table, transition, trajectory.at("latents")[step], trajectory.at("predictions")[step]);
    CHECK(at::allclose(trajectory.at("latents")[step + 1], mean + noise.at("step_noise")[step] * transition.sigma, 1e-5, 1e-6));
    CHECK(trajectory.at("timesteps")[step].item<std::int64_t>() == transition.timestep);
    CHECK(trajectory.at("next_timesteps")[step].item<std::int64_t>() == transition.next_timestep);
  }
  const auto vae = model().open().load_vae(at::kFloat);
  CHECK(at::allclose(trajectory.at("images"), decode_image(*vae, trajectory.at("latents")[4]), 1e-5, 1e-6));
  CHECK(trajectory.at("images").sizes() == at::IntArrayRef({2, 3, 16, 16}));
}

TEST_CASE("a run can be taken up from its own noise") {
  const TemporaryFolder folder;
  SampleOptions options = options_for(folder);
  options.eta = 0.0;
  const TensorMap first = sampled(options);
  save_tensors(folder.file("noise"), {{"start_noise", first.at("latents")[0].contiguous()}});
  options.noise_file = folder.file("noise");
  options.seed = 99;
  CHECK(at::equal(sampled(options).at("latents"), first.at("latents")));
}

TEST_CASE("noise that does not fit is named with what was expected") {
  const TemporaryFolder folder;
  SampleOptions options = options_for(folder);
  options.noise_file = folder.file("noise");
  const auto refused = [&](const TensorMap& tensors, const auto&... parts) {
    save_tensors(folder.file("noise"), tensors);
    check_error(
        ExitCode::kData, [&] { sample_pictures(options); }, parts...);
  };
  const Tensor start = draw({2, 4, 8, 8}, 1), steps = draw({4, 2, 4, 8, 8}, 2);
  refused({{"step_noise", steps}}, "start_noise", "missing");
  refused({{"start_noise", start}}, "step_noise", "missing");
  refused({{"start_noise", draw({3, 4, 8, 8}, 1)}, {"step_noise", steps}}, "start_noise", "[3, 4, 8, 8]", "N = 2");
  refused({{"start_noise", start}, {"step_noise", draw({5, 2, 4, 8, 8}, 2)}}, "step_noise", "[5, 2, 4, 8, 8]", "S = 4");
  refused({{"start_noise", start}, {"step_noise", steps}, {"extra", start}}, "extra");
  refused({{"start_noise", start.to(at::kLong)}, {"step_noise", steps}}, "start_noise", "I64");
}

TEST_CASE("pictures carry what made them") {
  const TemporaryFolder folder;
  SampleOptions options = options_for(folder);
  options.seed = 42;
  options.guidance = 3.5;
  const auto paths = sample_pictures(options);
  CHECK(paths == std::vector<std::string>{folder.file("out/000.png"), folder.file("out/001.png")});
  const std::string file = bytes_of(paths[1]);
  const auto holds = [&](const std::string& part) { return file.find(part) != std::string::npos; };
  using namespace std::string_literals;
  CHECK(holds("prompt\0two blue rings"s));
  CHECK(holds("seed\00042"s));
  CHECK(holds("steps\0004"s));
  CHECK(holds("cfg\0003.5"s));
  CHECK(holds("parameters\0two blue rings\nSteps: 4, Sampler: ddim, CFG scale: 3.5, Seed: 42, Size: 16x16"s));
}

TEST_CASE("pictures are the dumped images in bytes") {
  const TemporaryFolder folder;
  const TensorMap trajectory = sampled(options_for(folder));
  const RgbImage picture = read_png(folder.file("out/001.png"));
  CHECK(picture.width == 16);
  const Tensor bytes = (trajectory.at("images")[1] * 255).round().to(at::kByte).permute({1, 2, 0}).contiguous();
  CHECK(std::equal(picture.pixels.begin(), picture.pixels.end(), bytes.const_data_ptr<std::uint8_t>()));
}

TEST_CASE("guidance, steps, sampler and LoRA change pictures") {
  const TemporaryFolder folder;
  const auto pixels = [&](const auto& change) {
    SampleOptions options = options_for(folder);
    change(options);
    sample_pictures(options);
    return read_png(folder.file("out/000.png")).pixels;
  };
  const auto before = pixels([](SampleOptions&) {});
  CHECK(pixels([](SampleOptions& o) { o.guidance = 1.0; }) != before);
  CHECK(pixels([](SampleOptions& o) { o.steps = 3; }) != before);
  CHECK(pixels([](SampleOptions& o) { o.eta = 0.0; }) != before);
  CHECK(pixels([](SampleOptions& o) { o.sampler = "sde-dpm-solver++"; }) != before);
  Policy policy(model().open().load_unet(at::kFloat), LoraConfig{.rank = 2, .alpha = 2.0}, 1.0, 1);
  policy.load(some_lora(policy));
  write_lora_diffusers(folder.file("lora.safetensors"), policy.lora());
  const auto with_lora = [&](double scale) {
    return pixels([&](SampleOptions& o) {
      o.lora = folder.file("lora.safetensors");
      o.lora_scale = scale;
    });
  };
  CHECK(with_lora(1.0) != before);
  CHECK(with_lora(0.5) != with_lora(1.0));
  CHECK(with_lora(0.0) == before);
}

TEST_CASE("other sizes and types are sampled") {
  const TemporaryFolder folder;
  SampleOptions options = options_for(folder);
  options.height = 20;
  options.width = 24;
  options.dtype = "float64";
  const TensorMap trajectory = sampled(options);
  CHECK(trajectory.at("images").sizes() == at::IntArrayRef({2, 3, 20, 24}));
  CHECK((trajectory.at("latents").scalar_type() == at::kDouble));
  options.dtype = "bfloat16";
  CHECK((sampled(options).at("latents").scalar_type() == at::kFloat));
}

TEST_CASE("float64 agrees with float32 where noise is the same") {
  const TemporaryFolder folder;
  SampleOptions options = options_for(folder);
  const Tensor single = sampled(options).at("latents");
  options.dtype = "float64";
  const Tensor twice = sampled(options).at("latents");
  CHECK(relative_error(single, twice) < 1e-4);
  CHECK_FALSE(at::equal(single.to(at::kDouble), twice));
}

TEST_CASE("options that give no picture are refused with the option to change") {
  const TemporaryFolder folder;
  const auto refused = [&](ExitCode code, const auto& change, const auto&... parts) {
    SampleOptions options = options_for(folder);
    change(options);
    check_error(
        code, [&] { sample_pictures(options); }, parts...);
  };
  refused(
      ExitCode::kFailure, [](SampleOptions& o) { o.out = model().file("model_index.json/out"); }, "model_index.json/out");
  refused(
      ExitCode::kUsage, [](SampleOptions& o) { o.height = 17; }, "--height 17", "multiple of 2");
  refused(
      ExitCode::kUsage, [](SampleOptions& o) { o.width = -2; }, "--width -2");
  refused(
      ExitCode::kUsage, [](SampleOptions& o) { o.prompts.clear(); }, "--prompt");
  refused(
      ExitCode::kUsage, [](SampleOptions& o) { o.dtype = "float8"; }, "float8", "bfloat16");
  refused(
      ExitCode::kUsage, [](SampleOptions& o) { o.sampler = "euler"; }, "euler", "ddim");
  refused(
      ExitCode::kUsage, [](SampleOptions& o) { o.steps = 0; }, "0 sampling steps");
  refused(
      ExitCode::kUsage, [](SampleOptions& o) { o.device = "tpu"; }, "tpu");
  refused(
      ExitCode::kData, [](SampleOptions& o) { o.model = "/no/such/model"; }, "/no/such/model");
  refused(
      ExitCode::kData, [](SampleOptions& o) { o.lora = "/no/such/lora"; }, "/no/such/lora");
  refused(
      ExitCode::kData, [](SampleOptions& o) { o.noise_file = "/no/such/noise"; }, "/no/such/noise");
}

TEST_CASE("the command prints its pictures and seconds as JSON and nothing else") {
  const TemporaryFolder folder;
  write_file(folder.file("prompts.txt"), "a red star\ntwo blue rings\na green ring\n");
  const CapturedRun run = run_nabla(
      {"sample", "--model", model().path(), "--prompts", folder.file("prompts.txt"), "--steps", "2", "--out", folder.file("out")});
  CHECK(run.code == 0);
  const auto json = parse_json(run.out, "output");
  REQUIRE(json["pictures"].size() == 3);
  for (const auto& path : json["pictures"]) CHECK(std::filesystem::exists(path.get<std::string>()));
  CHECK(json["seconds"].get<double>() > 0.0);
  CHECK(std::filesystem::exists(folder.file("out/grid.png")));
}

TEST_CASE("the command takes several prompts, but not from two places") {
  const TemporaryFolder folder;
  write_file(folder.file("prompts.txt"), "a red star\n");
  const auto run_with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> line{"sample", "--model", model().path(), "--steps", "1", "--out", folder.file("out")};
    line.insert(line.end(), more.begin(), more.end());
    return run_nabla(line);
  };
  CHECK(parse_json(run_with({"--prompt", "a red star", "--prompt", "a ring"}).out, "output")["pictures"].size() == 2);
  const CapturedRun both = run_with({"--prompt", "x", "--prompts", folder.file("prompts.txt")});
  CHECK(both.code == 2);
  CHECK(both.err.find("--prompts") != std::string::npos);
  CHECK(run_with({}).code == 2);
  CHECK(run_with({"--prompt", "x", "--threads", "0"}).code == 2);
}

TEST_CASE("a grid shows every picture, enlarged, with room for captions") {
  const auto picture = [](std::uint8_t value) { return RgbImage{.width = 2, .height = 2, .pixels = std::vector<std::uint8_t>(12, value)}; };
  const RgbImage grid =
      draw_grid({picture(10), picture(20), picture(30)}, {"one", "two", "a rather long caption that needs more lines than one"});
  for (const std::uint8_t value : {10, 20, 30}) CHECK(std::count(grid.pixels.begin(), grid.pixels.end(), value) == 128 * 128 * 3);
  CHECK(grid.width < 400);
  CHECK(grid.height > 2 * 128);
}
