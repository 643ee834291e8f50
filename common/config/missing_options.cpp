#include "common/config/require.h"
#include "common/config/run_config.h"

#include <algorithm>

namespace nabla {

namespace {

// Options that are agreed and checked but not built yet: the one list of them.
struct MissingOption {
  const char* key;
  std::vector<std::string> values;  // those that are missing; none: all but the default
  const char* way_out;
};

const std::vector<MissingOption>& missing_options() {
  static const std::vector<MissingOption> options{
      {"experiment.reward_fn", {"hpscore", "imagereward"}, "use aesthetic_score, lantern or mean-red"},
  };
  return options;
}

}  // namespace

void require_available(const RunConfig& config) {
  RunConfig copy = config;
  const std::vector<Field> fields = fields_of(copy);
  std::string missing;
  for (const MissingOption& option : missing_options()) {
    const Field& field = find_field(fields, option.key);
    const std::string value = field.get();
    const bool listed = std::find(option.values.begin(), option.values.end(), value) != option.values.end();
    if (!listed && !(option.values.empty() && value != field.default_text)) continue;
    missing += fmt::format("{}{} {} ({})", missing.empty() ? "" : "; ", option.key, value, option.way_out);
  }
  require(missing.empty(), "this version does not have {}", missing);
}

}  // namespace nabla
