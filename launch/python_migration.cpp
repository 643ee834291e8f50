#include "launch/python_migration.h"

#include "common/config/run_config.h"
#include "common/diffusion/hub_cache.h"
#include "common/error.h"
#include "common/prompt_functions.h"
#include "launch/official_keys.h"
#include "launch/python_config.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

namespace nabla {

namespace {

// What the release's default file says beyond the settings that are defaults here too.
const std::vector<PythonSetting>& official_defaults() {
  static const std::vector<PythonSetting> settings{{"training.num_epochs", "100", "official defaults"},
                                                   {"sampling.batch_size", "16", "official defaults"},
                                                   {"sampling.num_batches_per_epoch", "4", "official defaults"},
                                                   {"pretrained.model", "runwayml/stable-diffusion-v1-5", "official defaults"}};
  return settings;
}

class Migrator {
 public:
  Migrator() : fields_(fields_of(config_)) {}

  void note(const std::string& text) { notes_.push_back(text); }

  // Settings by key, the last of each, in the order of their first.
  void take(const PythonSetting& setting) {
    const auto known = std::find_if(settings_.begin(), settings_.end(), [&](const auto& other) { return other.path == setting.path; });
    if (known == settings_.end())
      settings_.push_back(setting);
    else
      *known = setting;
  }

  Migration finish(const std::string& file) {
    for (const PythonSetting& setting : settings_) translate(setting);
    translate_epochs();
    translate_flow();
    name_files();
    note_refusal();
    std::vector<Field> touched;
    for (const Field& field : fields_) {
      if (touched_.contains(field.path)) touched.push_back(field);
    }
    note("remark: the release's own behaviour, defects and one epoch's lag included, is the preset compat-official on top");
    return {"# From " + file + "\n" + to_yaml(touched), std::move(notes_)};
  }

 private:
  using Handler = void (Migrator::*)(const PythonSetting&);

  const std::string* value_of(const std::string& path) const {
    const auto found = std::find_if(settings_.begin(), settings_.end(), [&](const auto& setting) { return setting.path == path; });
    return found == settings_.end() ? nullptr : &found->value;
  }

  // A count of the release's that has no field here; what is no count from 1 on is noted and passed over.
  std::int64_t count_of(const std::string& path, std::int64_t missing) {
    const std::string* text = value_of(path);
    if (text == nullptr) return missing;
    std::int64_t number = 0;
    try {
      config_text::parse(path, *text, number);
    } catch (const Error&) {
    }
    if (number >= 1 && number <= 1'000'000) return number;
    note(fmt::format("skipped: {} = '{}' is no number from 1 to 1000000; {} is taken", path, *text, missing));
    return missing;
  }

  void set(const std::string& key, const std::string& value) {
    const Field& field = find_field(fields_, key);
    field.set(value);
    touched_.insert(field.path);
  }

  void translate(const PythonSetting& setting) {
    static const std::map<std::string, Handler> special{{"training.num_epochs", &Migrator::leave},
                                                        {"sampling.num_batches_per_epoch", &Migrator::leave},
                                                        {"sampling.batch_size", &Migrator::leave},
                                                        {"training.mixed_precision", &Migrator::translate_precision},
                                                        {"training.num_inner_epochs", &Migrator::translate_inner_epochs},
                                                        {"model.lora_rank", &Migrator::translate_rank},
                                                        {"sampling.scheduler", &Migrator::translate_scheduler},
                                                        {"experiment.prompt_fn", &Migrator::translate_prompts},
                                                        {"pretrained.model", &Migrator::translate_model},
                                                        {"logging.num_checkpoing_limit", &Migrator::translate_checkpoint_limit},
                                                        {"saving.output_dir", &Migrator::translate_output}};
    try {
      if (const auto handler = special.find(setting.path); handler != special.end()) return (this->*handler->second)(setting);
      if (const OfficialKey* key = find_official_only_key(setting.path)) return drop(setting, key->advice);
      set(setting.path, setting.value);
    } catch (const Error& error) {
      note(fmt::format("skipped: {}: {}", setting.place, error.what()));
    }
  }

  void drop(const PythonSetting& setting, const std::string& reason) {
    note(fmt::format("dropped: {}: {}: {}", setting.place, setting.path, reason));
  }
  void change(const PythonSetting& setting, const std::string& text) {
    note(fmt::format("changed: {}: {} = {}: {}", setting.place, setting.path, setting.value, text));
  }

  // What `nabla config check` will say of the result.
  void note_refusal() {
    try {
      validate(config_);
    } catch (const Error& error) {
      note(fmt::format("refused: {}", error.what()));
    }
  }

  void leave(const PythonSetting&) {}  // translate_epochs() reads it

  void translate_precision(const PythonSetting& setting) {
    RunConfig trial;
    trial.training.mixed_precision = setting.value == "fp16" ? "bf16" : setting.value;
    try {
      validate(trial);
      set("training.mixed_precision", trial.training.mixed_precision);
      if (trial.training.mixed_precision != setting.value) change(setting, "becomes bf16, which needs no loss scaling");
    } catch (const Error&) {
      set("training.mixed_precision", "no");
      change(setting, "becomes no: this version computes in float32");
    }
  }

  void translate_inner_epochs(const PythonSetting& setting) {
    if (setting.value == "1") return;
    drop(setting, find_official_only_key(setting.path)->advice);
  }

  void translate_rank(const PythonSetting& setting) {
    set("model.lora_rank", setting.value);
    set("model.lora_alpha", setting.value);
    if (setting.value != "8") change(setting, "model.lora_alpha is set to the same, as the release does");
  }

  void translate_scheduler(const PythonSetting& setting) {
    const std::set<std::string> ddim{"DDPM", "ddpm", "DDIM", "ddim"}, solver{"DPM-solver", "dpm-solver"};
    if (ddim.contains(setting.value)) return set("sampling.scheduler", setting.value);
    const bool is_solver = solver.contains(setting.value);
    set("sampling.scheduler", is_solver ? "sde-dpm-solver++" : "DDIM");
    change(setting, is_solver ? "becomes sde-dpm-solver++" : "becomes DDIM, which the release takes every unknown name for");
  }

  void translate_prompts(const PythonSetting& setting) {
    const auto& known = prompt_function_names();
    if (std::find(known.begin(), known.end(), setting.value) != known.end()) return set("experiment.prompt_fn", setting.value);
    set("experiment.prompt_fn", "file");
    change(setting, "becomes file: this prompt function is not here, put its prompts into a file, one a line");
  }

  // A name on a model hub that its cache lacks becomes the folder a user would put it in.
  void translate_model(const PythonSetting& setting) {
    const std::string& model = setting.value;
    const std::string cached = hub_folder(model);
    if (cached.empty() || std::filesystem::exists(model) || std::filesystem::is_directory(cached)) return set("pretrained.model", model);
    const std::string folder = "models/" + model.substr(model.find('/') + 1);
    set("pretrained.model", folder);
    change(setting, fmt::format("is not in the hub cache ('{}') and becomes the folder {}; put the model at either place, or name yours", cached, folder));
  }

  void translate_checkpoint_limit(const PythonSetting& setting) {
    set("checkpoint.keep", setting.value);
    change(setting, "becomes checkpoint.keep, the newest that stay; the release kept them all");
  }

  void translate_output(const PythonSetting& setting) {
    if (setting.value == "PLACEHOLDER") return drop(setting, "each run gets a folder of its own under runs/");
    set("run.dir", setting.value);
    change(setting, "becomes run.dir, the folder of this one run");
  }

  // Epochs become updates, and the sampling batch a ticket of the largest size that divides an update.
  void translate_epochs() {
    const std::int64_t slots = config_.slots_per_update();
    if (slots < 1) return note("refused: training.batch_size x gradient_accumulation_steps must be at least 1 for an update to have trajectories");
    const std::int64_t batch = count_of("sampling.batch_size", 16), batches = count_of("sampling.num_batches_per_epoch", 4);
    const std::int64_t epochs = count_of("training.num_epochs", 100);
    const std::int64_t updates = std::max<std::int64_t>(1, epochs * batch * batches / slots);
    set("training.updates", std::to_string(updates));
    note(fmt::format("changed: {} epochs of {} x {} trajectories become training.updates = {} of {} each", epochs, batch, batches, updates,
                     slots));
    std::int64_t ticket = std::clamp<std::int64_t>(batch, 1, slots);
    while (slots % ticket != 0) --ticket;
    set("fleet.ticket_size", std::to_string(ticket));
    if (ticket != batch)
      note(fmt::format("changed: sampling.batch_size = {} becomes fleet.ticket_size = {}, a divisor of the {} of an update", batch, ticket,
                       slots));
    note(fmt::format("remark: S = {} counts for the whole run; the release's processes each drew the same {} trajectories", slots, slots));
  }

  void translate_flow() {
    if (!config_.model.no_flow || config_.model.reverse_loss_scale == 0) return;
    set("model.reverse_loss_scale", "0");
    note("changed: model.no_flow: model.reverse_loss_scale becomes 0, as the release does by itself");
  }

  // Weights and lists that the release downloads or ships, and a user of ours names.
  void name_files() {
    static const std::map<std::string, std::string> folders{
        {"aesthetic_score", "models/aesthetic"}, {"hpscore", "models/hpsv2"}, {"imagereward", "models/imagereward"}};
    if (const auto folder = folders.find(config_.experiment.reward_fn); folder != folders.end()) {
      set("experiment.reward_model", folder->second);
      note(fmt::format("missing: put the reward's weights into {}, or set experiment.reward_model to their folder", folder->second));
    }
    if (!touched_.contains("pretrained.model")) {
      set("pretrained.model", "models/stable-diffusion-v1-5");
      note("missing: the file names no pretrained.model; the folder models/stable-diffusion-v1-5 is taken");
    }
    if (!touched_.contains("experiment.prompt_fn")) {
      set("experiment.prompt_fn", "simple_animals");
      note("missing: the file names no experiment.prompt_fn; simple_animals is taken");
    }
    if (const std::string needed = needed_prompt_file(config_.experiment.prompt_fn); !needed.empty()) {
      const std::string path = "data/" + config_.experiment.prompt_fn;
      set("experiment.prompt_file", path);
      note(fmt::format("missing: experiment.prompt_file = {} stands for {}", path, needed));
    }
  }

  RunConfig config_;
  std::vector<Field> fields_;
  std::vector<PythonSetting> settings_;
  std::set<std::string> touched_;
  std::vector<std::string> notes_;
};

// A setting of the release's command line.
PythonSetting setting_of(const std::string& assignment) {
  const auto [key, value] = split_assignment(assignment);
  return {std::string(key), std::string(value), assignment.substr(0, assignment.find('='))};
}

}  // namespace

Migration migrate_python_config(const std::string& file, const std::vector<std::string>& assignments) {
  const PythonConfig python = read_python_config(file);
  Migrator migrator;
  for (const std::string& skipped : python.skipped) migrator.note("skipped: " + skipped);
  if (python.missing_base) {
    for (const PythonSetting& setting : official_defaults()) migrator.take(setting);
  }
  for (const PythonSetting& setting : python.settings) migrator.take(setting);
  for (const std::string& assignment : assignments) migrator.take(setting_of(assignment));
  return migrator.finish(file);
}

}  // namespace nabla
