#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace nabla {

// Reads the keys of one model configuration; class defaults stay where a key is absent, a known key with another type or an unsupported value is a
// data_error naming file, key and value.
class ConfigReader {
 public:
  ConfigReader(const nlohmann::json& json, std::string source);

  template <class T>
  void read(const char* key, T& value) const {
    const auto found = json_.find(key);
    if (found == json_.end() || found->is_null()) return;
    // The library would cut 2.7 to 2.
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
      if (!found->is_number_integer()) refuse(key, "a whole number");
    try {
      value = found->template get<T>();
    } catch (const nlohmann::json::exception&) {
      refuse(key, "a value of another type");
    }
  }
  // Whole numbers from 1 to `most`: no file may describe a network whose parts cannot be counted.
  void read_size(const char* key, std::int64_t& value, std::int64_t most = kLargestWidth) const;
  void read_sizes(const char* key, std::vector<std::int64_t>& values, std::int64_t most = kLargestWidth) const;
  // The key may be absent or hold exactly this value.
  void require(const char* key, const nlohmann::json& value) const;
  const nlohmann::json* find(const char* key) const;
  [[noreturn]] void refuse(const char* key, const std::string& expected) const;
  const std::string& source() const { return source_; }

  static constexpr std::int64_t kLargestWidth = 1 << 16, kMostLayers = 1 << 10, kMostTokens = 1 << 24;

 private:
  const nlohmann::json& json_;
  std::string source_;
};

}  // namespace nabla
