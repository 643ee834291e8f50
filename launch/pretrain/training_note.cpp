#include "launch/pretrain/training_note.h"

#include "common/error.h"
#include "common/json_file.h"

#include <fmt/chrono.h>

#include <ctime>
#include <filesystem>

namespace nabla {

std::string today() { return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr))); }

void note_training(const PretrainOptions& options, const std::string& part, const Trainer& trainer, const nlohmann::ordered_json& held_out) {
  std::filesystem::create_directories(options.out);
  const std::string file = options.out + "/training.json";
  nlohmann::ordered_json notes = std::filesystem::exists(file) ? read_json(file) : nlohmann::ordered_json::object();
  notes[part] = {{"seed", options.seed},
                 {"steps", trainer.step()},
                 {"loss", trainer.smoothed_loss()},
                 {"seconds", trainer.seconds()},
                 {"date", today()}};
  if (!held_out.empty()) notes[part]["held_out"] = held_out;
  write_json(file, notes);
}

}  // namespace nabla
