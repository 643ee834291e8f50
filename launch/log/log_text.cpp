#include "launch/log/log_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <ctime>

namespace nabla {

namespace {

std::string numbers_text(const LogDamage& damage) {
  if (damage.first_seq == damage.end_seq) return "no entry is missing";
  std::string text = damage.end_seq - damage.first_seq == 1
                         ? fmt::format("entry {} is missing", damage.first_seq)
                         : fmt::format("entries {} to {} are missing", damage.first_seq, damage.end_seq - 1);
  if (damage.slots.empty()) return text;
  text += damage.slots.size() == 1 ? " (slot" : " (slots";
  for (const std::int64_t slot : damage.slots) text += fmt::format(" {}", slot);
  return text + ")";
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  auto size = static_cast<double>(bytes);
  for (; size >= 1024.0 && unit + 1 < kUnits.size(); ++unit) size /= 1024.0;
  return fmt::format("{:.{}f} {}", size, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string time_text(std::int64_t unix_ms) {
  if (unix_ms == 0) return "-";
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

std::string duration_text(std::int64_t ms) {
  const std::int64_t minutes = ms / 60000;
  if (minutes == 0) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000);
  return minutes < 60 ? fmt::format("{} min", minutes) : fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

std::string check_text(const LogCheck& check) {
  std::string text;
  for (const LogDamage& damage : check.damages) {
    text += fmt::format("damaged: '{}' at byte {} to {}: {}; {}\n", damage.segment, damage.begin, damage.end, damage.reason,
                        numbers_text(damage));
  }
  for (const std::string& warning : check.warnings) text += fmt::format("warning: {}\n", warning);
  return text + fmt::format("{} segments, {}, {} entries, {} records: {} damaged places, {} warnings\n", check.segments,
                            bytes_text(check.bytes), check.entries, check.records, check.damages.size(), check.warnings.size());
}

nlohmann::ordered_json check_json(const LogCheck& check) {
  nlohmann::ordered_json damages = nlohmann::ordered_json::array();
  for (const LogDamage& damage : check.damages) {
    damages.push_back({{"segment", damage.segment},
                       {"begin", damage.begin},
                       {"end", damage.end},
                       {"first_missing", damage.first_seq},
                       {"num_missing", damage.end_seq - damage.first_seq},
                       {"slots", damage.slots},
                       {"reason", damage.reason}});
  }
  return {{"segments", check.segments}, {"bytes", check.bytes}, {"entries", check.entries},
          {"records", check.records},   {"damages", damages},   {"warnings", check.warnings}};
}

}  // namespace nabla
