#include "common/safetensors.h"

#include "common/error.h"
#include "common/files.h"
#include "common/json_file.h"
#include "common/mapped_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

namespace nabla {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian and is mapped, not copied");

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kPrefixBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

class CheckedSafetensors : public SafetensorsFile {
 public:
  CheckedSafetensors(std::span<const std::byte> content, const std::string& name, std::shared_ptr<const MappedFile> file) {
    path_ = name;
    file_ = std::move(file);
    const std::string_view header = header_text(content);
    data_ = content.subspan(kPrefixBytes + header.size());
    read_header(parse_json(header, "the header of '" + name + "'"));
    check_layout();
  }

 private:
  std::string_view header_text(std::span<const std::byte> bytes) const;
  void read_header(const Json& header);
  void read_metadata(const Json& json);
  TensorInfo read_tensor(const std::string& name, const Json& json) const;
  void check_layout() const;
};

std::string_view CheckedSafetensors::header_text(std::span<const std::byte> bytes) const {
  if (bytes.size() < kPrefixBytes)
    throw data_error("[safetensors] '{}' has {} bytes, too few for the header length; the file is cut short", path_, bytes.size());
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kPrefixBytes);
  if (length > kMaxHeaderBytes) {
    throw data_error("[safetensors] '{}' says its header has {} bytes; at most {} are allowed, so this is no safetensors file", path_,
                     length, kMaxHeaderBytes);
  }
  if (length > bytes.size() - kPrefixBytes) {
    throw data_error("[safetensors] '{}' has {} bytes but a header of {}; the file is cut short", path_, bytes.size(), length);
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kPrefixBytes, length);
  if (!text.starts_with('{'))
    throw data_error("[safetensors] the header of '{}' does not start with '{{'; this is no safetensors file", path_);
  return text;
}

void CheckedSafetensors::read_header(const Json& header) {
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      read_metadata(value);
    } else {
      tensors_.emplace(name, read_tensor(name, value));
    }
  }
}

void CheckedSafetensors::read_metadata(const Json& json) {
  if (!json.is_object()) throw data_error("[safetensors] __metadata__ of '{}' is not an object", path_);
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string())
      throw data_error("[safetensors] __metadata__ '{}' of '{}' is {}; only texts are allowed", key, path_, value.dump());
    metadata_.emplace(key, value.get<std::string>());
  }
}

// An array of whole numbers that fit an int64; anything else is a data_error.
std::vector<std::int64_t> whole_numbers(const Json& entry, const char* key, const std::string& where) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array()) throw data_error("[safetensors] {}: '{}' is missing or not a list", where, key);
  std::vector<std::int64_t> numbers;
  for (const Json& value : *found) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      throw data_error("[safetensors] {}: '{}' holds {}; whole numbers from 0 are expected", where, key, value.dump());
    }
    numbers.push_back(value.get<std::int64_t>());
  }
  return numbers;
}

// Bytes of a tensor, or nothing where the product overflows. An empty dimension counts as one there, as in torch's strides.
std::optional<std::size_t> byte_count(DType dtype, const std::vector<std::int64_t>& shape) {
  auto count = static_cast<std::int64_t>(byte_size(dtype));
  bool empty = false;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0 || __builtin_mul_overflow(count, std::max<std::int64_t>(1, dimension), &count)) return std::nullopt;
    empty = empty || dimension == 0;
  }
  return empty ? 0 : static_cast<std::size_t>(count);
}

TensorInfo CheckedSafetensors::read_tensor(const std::string& name, const Json& json) const {
  const std::string where = fmt::format("tensor '{}' of '{}'", name, path_);
  if (!json.is_object() || !json.contains("dtype") || !json["dtype"].is_string()) throw data_error("[safetensors] {} has no dtype", where);
  TensorInfo info;
  try {
    info.dtype = dtype_from_name(json["dtype"].get_ref<const std::string&>());
  } catch (const Error& error) {
    throw data_error("[safetensors] {}: {}", where, error.what());
  }
  info.shape = whole_numbers(json, "shape", where);
  const std::vector<std::int64_t> offsets = whole_numbers(json, "data_offsets", where);
  if (offsets.size() != 2 || offsets[1] < offsets[0])
    throw data_error("[safetensors] {}: data_offsets is {}; [begin, end] is expected", where, json["data_offsets"].dump());
  info.begin = static_cast<std::size_t>(offsets[0]);
  info.end = static_cast<std::size_t>(offsets[1]);
  const auto expected = byte_count(info.dtype, info.shape);
  if (!expected || *expected != info.end - info.begin) {
    throw data_error("[safetensors] {}: dtype {} and shape {} do not make the {} bytes of its data_offsets", where, name_of(info.dtype),
                     json["shape"].dump(), info.end - info.begin);
  }
  return info;
}

// The tensors tile the data section: no hole, no overlap, nothing behind the last.
void CheckedSafetensors::check_layout() const {
  std::vector<std::pair<const TensorInfo*, const std::string*>> order;
  for (const auto& [name, info] : tensors_) order.emplace_back(&info, &name);
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return std::pair(a.first->begin, a.first->end) < std::pair(b.first->begin, b.first->end); });
  std::size_t position = 0;
  for (const auto& [info, name] : order) {
    if (info->begin != position) {
      throw data_error("[safetensors] tensor '{}' of '{}' begins at {} where {} is expected; tensors may not overlap or leave holes", *name,
                       path_, info->begin, position);
    }
    position = info->end;
  }
  if (position != data_.size()) {
    throw data_error("[safetensors] '{}' holds {} bytes of data but its tensors need {}; the file is {}", path_, data_.size(), position,
                     data_.size() < position ? "cut short" : "too long");
  }
}

// Rank in the reference writer's order of dtypes, which is not that of our wire constants.
int canonical_rank(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return 0;
    case DType::kU8:
      return 1;
    case DType::kI8:
      return 2;
    case DType::kI16:
      return 3;
    case DType::kF16:
      return 4;
    case DType::kBF16:
      return 5;
    case DType::kI32:
      return 6;
    case DType::kF32:
      return 7;
    case DType::kF64:
      return 8;
    case DType::kI64:
      return 9;
  }
  return -1;
}

using NamedBytes = std::pair<const std::string, TensorBytes>;

std::vector<const NamedBytes*> canonical_order(const std::map<std::string, TensorBytes>& tensors) {
  std::vector<const NamedBytes*> order;
  for (const NamedBytes& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [](const NamedBytes* a, const NamedBytes* b) {
    return canonical_rank(a->second.dtype) > canonical_rank(b->second.dtype);
  });
  return order;
}

std::string make_header(const std::vector<const NamedBytes*>& order, const std::map<std::string, std::string>& metadata) {
  Json header;
  header["__metadata__"] = metadata;
  std::size_t position = 0;
  for (const NamedBytes* entry : order) {
    const auto& [name, tensor] = *entry;
    if (name == "__metadata__") throw failure("[safetensors] a tensor cannot be called __metadata__");
    const auto expected = byte_count(tensor.dtype, tensor.shape);
    if (expected != tensor.bytes.size()) {
      throw failure("[safetensors] tensor '{}' was given {} bytes, which dtype {} and shape {} do not make", name, tensor.bytes.size(),
                    name_of(tensor.dtype), Json(tensor.shape).dump());
    }
    header[name] =
        Json{{"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {position, position + tensor.bytes.size()}}};
    position += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  const auto file = std::make_shared<MappedFile>(path);
  return std::make_shared<CheckedSafetensors>(file->bytes(), path, file);
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> content, const std::string& name) {
  return std::make_shared<CheckedSafetensors>(content, name, nullptr);
}

std::span<const std::byte> SafetensorsFile::bytes(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw data_error("[safetensors] '{}' holds no tensor '{}'", path_, name);
  return data_.subspan(found->second.begin, found->second.end - found->second.begin);
}

void SafetensorsFile::release(const std::string& name) const { file_->release(bytes(name)); }

void write_safetensors(const std::string& path, const std::map<std::string, TensorBytes>& tensors,
                       std::map<std::string, std::string> metadata) {
  metadata.emplace("format", "pt");
  const auto order = canonical_order(tensors);
  const std::string header = make_header(order, metadata);
  const std::uint64_t length = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const NamedBytes* entry : order) file.write(entry->second.bytes);
  file.commit();
}

}  // namespace nabla
