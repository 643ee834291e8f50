#pragma once

#include <string>

namespace nabla {

// Where a model that a user names stands on this machine: a path is itself; of a folder of Hugging Face's hub cache (models--org--name) it is the snapshot that
// refs/main names; "org/name", where no such path exists, is sought in that cache. data_error where a cached model has no snapshot.
//
// The cache is $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub. It is read here and not in launch/, because a run's configuration travels to
// other machines, whose caches stand elsewhere.
std::string resolve_model_path(const std::string& model);

// The folder of a hub name in the cache; empty for what is no such name.
std::string hub_folder(const std::string& model);

}  // namespace nabla
