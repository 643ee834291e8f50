#include "common/diffusion/hub_cache.h"

#include "common/error.h"
#include "common/files.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace nabla {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMaxRefBytes = 1024;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string cache_folder() {
  if (const std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = variable("HF_HOME"); !home.empty()) return home + "/hub";
  return variable("HOME") + "/.cache/huggingface/hub";
}

bool is_hub_name(const std::string& model) {
  const auto allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '/' || c == '-' || c == '_' || c == '.';
  };
  const std::size_t slash = model.find('/');
  return slash != 0 && slash != std::string::npos && slash + 1 < model.size() && model.find('/', slash + 1) == std::string::npos &&
         !model.starts_with('.') && std::ranges::all_of(model, allowed);
}

bool is_cached_model(const std::string& folder) { return fs::is_directory(folder + "/snapshots"); }

std::string trimmed(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  return text;
}

std::string snapshot_of(const std::string& folder) {
  const std::string snapshots = folder + "/snapshots/";
  if (fs::exists(folder + "/refs/main")) {
    const std::string revision = trimmed(read_file(folder + "/refs/main", kMaxRefBytes));
    if (!revision.empty() && revision.find('/') == std::string::npos && fs::is_directory(snapshots + revision)) return snapshots + revision;
    throw data_error("[model] '{}': refs/main names the snapshot '{}', which is not there; download the model again", folder, revision);
  }
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(snapshots)) found.push_back(entry.path().string());
  if (found.size() == 1) return found.front();
  throw data_error("[model] '{}' has {} snapshots and no refs/main to choose by; give the path of one of them", folder, found.size());
}

}  // namespace

std::string hub_folder(const std::string& model) {
  if (!is_hub_name(model)) return "";
  std::string folder = cache_folder() + "/models--" + model;
  return folder.replace(folder.size() - model.size() + model.find('/'), 1, "--");
}

std::string resolve_model_path(const std::string& model) {
  if (is_cached_model(model)) return snapshot_of(model);
  if (fs::exists(model)) return model;
  const std::string folder = hub_folder(model);
  return !folder.empty() && is_cached_model(folder) ? snapshot_of(folder) : model;
}

}  // namespace nabla
