// Memory that loading a UNet takes, beside the process without it.
//   load_memory write FOLDER      a UNet of Stable Diffusion v1.5's size with random bfloat16 weights, as a model folder
//   load_memory load FOLDER       loads it in bfloat16; prints its size, the peak above the process before, and their ratio; exit code 1 if that is over 1.1 and 48 MB
//   load_memory short             both with a UNet of a tenth of the size

#include "common/diffusion/model_folder.h"
#include "common/diffusion/stable_diffusion_v1.h"
#include "common/error.h"
#include "common/heap.h"
#include "common/json_file.h"
#include "tests/common/temporary_folder.h"

#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <torch/types.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace nabla {
namespace {

// Code and buffers that a load brings into memory whatever the network's size.
constexpr double kOfLibraries = 48e6;

// A line of /proc/self/status, in bytes.
double memory_of(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return 1024.0 * std::stod(line.substr(key.size() + 1));
  return 0.0;
}

void write_model(const std::string& folder, const std::vector<std::int64_t>& widths) {
  UNetConfig config = stable_diffusion_unet();
  config.block_out_channels = widths;
  UNet2DConditionModel unet(config);
  place_parameters(unet, at::kBFloat16);
  const at::NoGradGuard no_grad;
  at::manual_seed(1);
  for (auto& parameter : unet.parameters()) parameter.uniform_(-0.1, 0.1);
  std::filesystem::create_directories(folder + "/unet");
  write_json(folder + "/model_index.json", {{"_class_name", "StableDiffusionPipeline"}});
  write_json(folder + "/unet/config.json", config.to_json());
  save_tensors(folder + "/unet/diffusion_pytorch_model.safetensors", named_tensors(unet));
}

int load_model(const std::string& model) {
  const double before = memory_of("VmRSS");
  const auto start = std::chrono::steady_clock::now();
  const auto unet = ModelFolder::open(model).load_unet(at::kBFloat16);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double bytes = 0.0;
  for (const auto& parameter : unet->parameters()) bytes += static_cast<double>(parameter.nbytes());
  const double peak = memory_of("VmHWM") - before;
  std::printf("weights %.1f MB, peak above the idle process %.1f MB, ratio %.3f, %.1f s\n", bytes / 1e6, peak / 1e6, peak / bytes, seconds);
  return peak < 1.1 * bytes + kOfLibraries ? 0 : 1;
}

// Written by a process of its own, whose memory is none of this one's.
int load_small_model() {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    write_model(folder.path(), {96, 192, 384, 384});
    std::_Exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status == 0 ? load_model(folder.path()) : 1;
}

}  // namespace
}  // namespace nabla

int main(int argc, char** argv) {
  nabla::keep_freed_memory();
  const std::string verb = argc > 1 ? argv[1] : "";
  try {
    if (verb == "short" && argc == 2) return nabla::load_small_model();
    if (verb == "write" && argc == 3) return nabla::write_model(argv[2], {320, 640, 1280, 1280}), 0;
    if (verb == "load" && argc == 3) return nabla::load_model(argv[2]);
  } catch (const nabla::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
  std::fprintf(stderr, "usage: load_memory short, or load_memory write|load FOLDER\n");
  return 2;
}
