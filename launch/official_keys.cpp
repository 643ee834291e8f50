#include "launch/official_keys.h"

namespace nabla {

const std::vector<OfficialKey>& official_only_keys() {
  static const std::vector<OfficialKey> keys{
      {"training.num_epochs",
       "runs are counted in updates; set training.updates = num_epochs x sampling.batch_size x sampling.num_batches_per_epoch / S, where S "
       "= "
       "training.batch_size x training.gradient_accumulation_steps"},
      {"training.num_inner_epochs", "each trajectory is trained once; for more passes over recorded trajectories use nabla replay"},
      {"training.allow_tf32", "the device decides how it multiplies float32"},
      {"training.gradscaler_growth_interval", "there is no gradient scaler: float32 and bfloat16 need none"},
      {"experiment.prompt_fn_kwargs", "prompt functions take no arguments; experiment.prompt_file names the list"},
      {"sampling.num_batches_per_epoch", "there are no epochs: trajectories are sampled as updates need them; set training.updates"},
      {"pretrained.revision", "nothing is downloaded: pretrained.model takes a folder, a single file, or a name in the hub cache, whose refs/main names the revision"},
      {"logging.use_wandb", "metrics are always written to the run folder (metrics.jsonl); no account is needed"},
      {"logging.wandb_dir", "metrics are always written to the run folder (metrics.jsonl)"},
      {"logging.wandb_key", "no key belongs in a configuration; metrics are written to the run folder (metrics.jsonl)"},
      {"logging.proj_name", "set run.name"},
      {"logging.save_freq", "set checkpoint.every, in updates"},
      {"logging.num_checkpoing_limit", "set checkpoint.keep"},
      {"logging.save_json", "metrics.jsonl and summary.json are always written"},
      {"saving.output_dir", "set run.dir, or leave it: each run gets a folder of its own"},
  };
  return keys;
}

const OfficialKey* find_official_only_key(const std::string& path) {
  for (const OfficialKey& key : official_only_keys()) {
    if (path == key.path) return &key;
  }
  return nullptr;
}

}  // namespace nabla
