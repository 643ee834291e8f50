#include "common/torch_file.h"

#include "common/error.h"
#include "common/mapped_file.h"
#include "common/nearest.h"
#include "common/pickle.h"
#include "common/zip_archive.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace nabla {

static_assert(std::endian::native == std::endian::little, "tensors are mapped as they stand in the file");

namespace {

using Bytes = std::span<const std::byte>;
using ZipEntries = std::map<std::string, Bytes>;

constexpr std::string_view kProgram = "/data.pkl";
constexpr std::array<std::string_view, 4> kEndings{".pt", ".pth", ".bin", ".ckpt"};
constexpr std::byte kPickleProtocol{0x80};
constexpr std::size_t kTarMagicOffset = 257, kLeastSteps = 1 << 18, kBytesPerStep = 128, kMaxSharing = 8, kNamesShown = 8;

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

void require_zip(Bytes bytes, const std::string& source) {
  if (begins_as_zip(bytes)) return;
  const bool tar = bytes.size() > kTarMagicOffset + 5 && text_of(bytes.subspan(kTarMagicOffset, 5)) == "ustar";
  if (tar || (!bytes.empty() && bytes.front() == kPickleProtocol)) {
    throw data_error(
        "[torch] '{}' is in the format that torch.save wrote before version 1.6, which is not read; write it anew in Python: "
        "torch.save(torch.load(old, map_location='cpu', weights_only=True), new)",
        source);
  }
  throw data_error("[torch] '{}' is no file of torch.save: it does not begin as a zip archive", source);
}

// "archive" of "archive/data.pkl".
std::string find_root(const ZipEntries& entries, const std::string& source) {
  std::string root;
  for (const auto& [name, bytes] : entries) {
    if (!name.ends_with(kProgram) || std::ranges::count(name, '/') != 1) continue;
    if (!root.empty()) throw data_error("[torch] '{}' holds more than one data.pkl; torch.save writes one", source);
    root = name.substr(0, name.size() - kProgram.size());
  }
  if (root.empty()) throw data_error("[torch] '{}' is a zip archive without data.pkl, so torch.save did not write it", source);
  return root;
}

// Tensors of a pickle to bytes of the archive.
class TensorResolver {
 public:
  TensorResolver(const ZipEntries& entries, std::string root, const std::string& source)
      : entries_(entries), root_(std::move(root)), source_(source) {}

  TorchTensor resolve(std::string_view name, const PickleTensor& tensor) const {
    const std::string where = fmt::format("tensor '{}' of '{}'", name, source_);
    if (!tensor.storage.dtype) throw data_error("[torch] {} has a storage without an element type", where);
    const DType dtype = *tensor.storage.dtype;
    const Bytes storage = storage_bytes(tensor.storage, byte_size(dtype), where);
    const auto [count, extent] = measure(tensor, where);
    if (count == 0) return {dtype, tensor.shape, tensor.strides, storage.first(0)};
    const std::int64_t available = tensor.storage.count;
    if (tensor.offset < 0 || tensor.offset > available || extent > available - tensor.offset)
      throw data_error("[torch] {} reaches {} elements from {} on, but its storage has {}", where, extent, tensor.offset, available);
    if (count > available)
      throw data_error("[torch] {} repeats the elements of its storage: {} of {}; save a contiguous copy", where, count, available);
    const auto bytes = [dtype](std::int64_t elements) { return static_cast<std::size_t>(elements) * byte_size(dtype); };
    return {dtype, tensor.shape, tensor.strides, storage.subspan(bytes(tensor.offset), bytes(extent))};
  }

 private:
  Bytes storage_bytes(const PickleStorage& storage, std::size_t element_bytes, const std::string& where) const {
    const auto found = entries_.find(fmt::format("{}/data/{}", root_, storage.key));
    if (found == entries_.end())
      throw data_error("[torch] {}: its storage '{}' is not in the file; the file is incomplete", where, storage.key);
    std::size_t expected = 0;
    if (storage.count < 0 || __builtin_mul_overflow(static_cast<std::size_t>(storage.count), element_bytes, &expected) ||
        expected != found->second.size()) {
      throw data_error("[torch] {}: its storage '{}' has {} bytes, which {} elements of {} bytes do not make", where, storage.key,
                       found->second.size(), storage.count, element_bytes);
    }
    return found->second;
  }

  struct Measure {
    std::int64_t count = 1, extent = 1;  // elements; from the first to the last one in memory
  };
  static Measure measure(const PickleTensor& tensor, const std::string& where) {
    if (tensor.shape.size() != tensor.strides.size())
      throw data_error("[torch] {} has {} dimensions but {} strides", where, tensor.shape.size(), tensor.strides.size());
    Measure measure;
    bool empty = false, overflow = false;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      if (tensor.shape[i] < 0 || tensor.strides[i] < 0)
        throw data_error("[torch] {}: dimension {} has size {} and stride {}; neither may be negative", where, i, tensor.shape[i],
                         tensor.strides[i]);
      empty = empty || tensor.shape[i] == 0;
      // An empty dimension counts as one, as in torch's strides: what stands around it must not overflow either.
      const std::int64_t size = std::max<std::int64_t>(1, tensor.shape[i]);
      std::int64_t reach = 0;
      overflow = overflow || __builtin_mul_overflow(measure.count, size, &measure.count) ||
                 __builtin_mul_overflow(size - 1, tensor.strides[i], &reach) || __builtin_add_overflow(measure.extent, reach, &measure.extent);
    }
    if (overflow) throw data_error("[torch] {} has a shape whose size overflows", where);
    return empty ? Measure{0, 0} : measure;
  }

  const ZipEntries& entries_;
  std::string root_;
  const std::string& source_;
};

std::string name_of_key(const PickleValue& key) {
  const auto* text = std::get_if<std::string_view>(&key);
  return text != nullptr ? std::string(*text) : "(a key that is no text)";
}

// The dict that holds the weights: the file's own, or the one under "state_dict", beside which trainers keep their state.
const PickleEntries& weights_of(const PickleValue& root, std::vector<std::string>& left_out, const std::string& source) {
  const auto* entries = std::get_if<PickleEntries*>(&root);
  if (entries == nullptr) throw data_error("[torch] '{}' holds no dict of named tensors", source);
  const PickleEntries* weights = *entries;
  for (const auto& [key, value] : **entries) {
    const auto* inner = std::get_if<PickleEntries*>(&value);
    if (inner != nullptr && name_of_key(key) == "state_dict") weights = *inner;
  }
  if (weights == *entries) return *weights;
  for (const auto& [key, value] : **entries) {
    const auto* inner = std::get_if<PickleEntries*>(&value);
    if (inner == nullptr || *inner != weights) left_out.push_back(name_of_key(key));
  }
  return *weights;
}

// Views of one storage may repeat it, as tied weights do, but not without end.
void check_total(const std::map<std::string, TorchTensor>& tensors, std::size_t file_bytes, const std::string& source) {
  std::size_t total = 0;
  for (const auto& [name, tensor] : tensors) {
    std::size_t bytes = byte_size(tensor.dtype);
    for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::size_t>(size);
    if (__builtin_add_overflow(total, bytes, &total) || total / kMaxSharing > file_bytes)
      throw data_error("[torch] '{}': its tensors add up to more than {} times the file's {} bytes; the last one is '{}'", source,
                       kMaxSharing, file_bytes, name);
  }
}

}  // namespace

TorchFile TorchFile::parse(std::span<const std::byte> bytes, const std::string& source) {
  require_zip(bytes, source);
  const ZipEntries entries = read_stored_zip(bytes, source);
  const std::string root = find_root(entries, source);
  if (const auto order = entries.find(root + "/byteorder"); order != entries.end() && text_of(order->second) != "little")
    throw data_error("[torch] '{}' was written on a big-endian machine; write it anew on one like this", source);
  const Pickle pickle(text_of(entries.at(root + std::string(kProgram))), source, std::max(kLeastSteps, bytes.size() / kBytesPerStep));
  TorchFile file;
  const TensorResolver resolver(entries, root, source);
  for (const auto& [key, value] : weights_of(pickle.root(), file.left_out_, source)) {
    const auto* name = std::get_if<std::string_view>(&key);
    const auto* tensor = std::get_if<const PickleTensor*>(&value);
    if (name == nullptr || tensor == nullptr) {
      file.left_out_.push_back(name_of_key(key));
    } else {
      file.tensors_.insert_or_assign(std::string(*name), resolver.resolve(*name, **tensor));
    }
  }
  if (file.tensors_.empty())
    throw data_error("[torch] '{}' has no named tensors at its top or under 'state_dict'; there is: {}", source,
                     comma_list(file.left_out_, kNamesShown));
  check_total(file.tensors_, bytes.size(), source);
  return file;
}

std::shared_ptr<const TorchFile> TorchFile::open(const std::string& path) {
  const auto mapping = std::make_shared<MappedFile>(path);
  auto file = std::make_shared<TorchFile>(parse(mapping->bytes(), path));
  file->file_ = mapping;
  return file;
}

void TorchFile::release(const TorchTensor& tensor) const {
  if (file_) file_->release(tensor.bytes);
}

bool is_torch_file(const std::string& path) {
  const MappedFile file(path);
  const Bytes bytes = file.bytes();
  if (begins_as_zip(bytes)) return true;
  const bool safetensors = bytes.size() > sizeof(std::uint64_t) && bytes[sizeof(std::uint64_t)] == std::byte{'{'};
  return !safetensors && std::ranges::any_of(kEndings, [&path](std::string_view ending) { return path.ends_with(ending); });
}

}  // namespace nabla
