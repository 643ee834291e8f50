#include "common/json_file.h"

#include "common/error.h"
#include "common/files.h"

#include <set>
#include <vector>

namespace nabla {

nlohmann::ordered_json parse_json(std::string_view text, const std::string& source) {
  using Json = nlohmann::ordered_json;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto refuse_duplicates = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) throw data_error("[json] {}: the key '{}' stands twice in one object", source, key);
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), refuse_duplicates);
  } catch (const Json::exception& error) {
    throw data_error("[json] {} is not valid JSON: {}", source, error.what());
  }
}

nlohmann::ordered_json read_json(const std::string& path, std::size_t max_bytes) {
  return parse_json(read_file(path, max_bytes), "'" + path + "'");
}

void write_json(const std::string& path, const nlohmann::ordered_json& json) { write_file(path, json.dump(2) + "\n"); }

}  // namespace nabla
