#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace nabla {

// Parses strictly: UTF-8, nothing after the value, no key twice in one object. data_error naming `source` and the place.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& source);

// Reads and parses a file of at most max_bytes. data_error naming the file.
nlohmann::ordered_json read_json(const std::string& path, std::size_t max_bytes = std::size_t{64} << 20);

// Indented, with a final line end, atomically (AtomicFile).
void write_json(const std::string& path, const nlohmann::ordered_json& json);

}  // namespace nabla
