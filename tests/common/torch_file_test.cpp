#include "common/torch_file.h"

#include "common/files.h"
#include "common/safetensors.h"
#include "tests/common/error_check.h"
#include "tests/common/temporary_folder.h"
#include "tests/common/torch_bytes.h"

#include <cstring>

namespace nabla {

namespace {

std::string torch_path(const std::string& name) { return std::string(NABLA_PARITY_DATA) + "/torch_files/" + name; }

// A tensor's elements in row-major order.
std::string elements_of(const TorchTensor& tensor) {
  const std::size_t size = byte_size(tensor.dtype);
  std::size_t count = 1;
  for (const std::int64_t dimension : tensor.shape) count *= static_cast<std::size_t>(dimension);
  std::string elements;
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t rest = i, at = 0;
    for (std::size_t d = tensor.shape.size(); d-- > 0;) {
      at += rest % static_cast<std::size_t>(tensor.shape[d]) * static_cast<std::size_t>(tensor.strides[d]);
      rest /= static_cast<std::size_t>(tensor.shape[d]);
    }
    elements.append(reinterpret_cast<const char*>(tensor.bytes.data()) + at * size, size);
  }
  return elements;
}

void check_equal_to_torch(const std::string& name) {
  const auto file = TorchFile::open(torch_path(name));
  const auto expected = SafetensorsFile::open(torch_path("expected_" + name.substr(0, name.find('.')) + ".safetensors"));
  CHECK(file->tensors().size() == expected->tensors().size());
  for (const auto& [key, info] : expected->tensors()) {
    INFO(name, " ", key);
    REQUIRE(file->tensors().contains(key));
    const TorchTensor& tensor = file->tensors().at(key);
    CHECK(name_of(tensor.dtype) == name_of(info.dtype));
    CHECK(tensor.shape == info.shape);
    const auto bytes = expected->bytes(key);
    CHECK(elements_of(tensor) == std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
}

std::span<const std::byte> as_bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TorchFile parse(const std::string& content) { return TorchFile::parse(as_bytes_of(content), "bad.pt"); }

template <class... Parts>
void check_refused(const std::string& content, const Parts&... parts) {
  check_error(
      ExitCode::kData, [&] { parse(content); }, "bad.pt", parts...);
}

template <class... Parts>
void check_file_refused(const std::string& name, const Parts&... parts) {
  check_error(
      ExitCode::kData, [&] { TorchFile::open(torch_path(name)); }, name, parts...);
}

const std::string kSixFloats(24, '\x01');

// A file with one tensor "t" over one storage of six floats.
std::string with_tensor(const TensorPickle& tensor) { return make_torch_file(pickle_dict({{"t", pickle_tensor(tensor)}}), {kSixFloats}); }

}  // namespace

TEST_CASE("tensors of torch.save are read as torch reads them: every dtype, strides, shared storages, parameters, modules, trainers") {
  for (const char* name : {"dtypes.pt", "views.pth", "module.bin", "trainer.ckpt"}) check_equal_to_torch(name);
}

TEST_CASE("views of one storage share its bytes in the file") {
  const auto file = TorchFile::open(torch_path("views.pth"));
  const auto& base = file->tensors().at("base");
  CHECK(file->tensors().at("same").bytes.data() == base.bytes.data());
  CHECK(file->tensors().at("last_column").bytes.data() == base.bytes.data() + 5 * sizeof(float));
}

TEST_CASE("what stands beside the weights is named and passed over") {
  CHECK(TorchFile::open(torch_path("trainer.ckpt"))->left_out() == std::vector<std::string>{"epoch", "global_step", "big", "negative",
                                                                                            "pytorch-lightning_version", "callbacks",
                                                                                            "optimizer_states", "lr_schedulers"});
  CHECK(TorchFile::open(torch_path("module.bin"))->left_out().empty());
}

TEST_CASE("a global that is no tensor's is refused by name, and nothing is run") {
  check_file_refused("evil.pt", "posix.system", "Nothing of the file was run");
  CHECK_FALSE(std::filesystem::exists("harm-was-done"));
  check_file_refused("complex.pt", "torch.ComplexFloatStorage");
  check_file_refused("script.pt", "__torch__");
}

TEST_CASE("other formats of pickled tensors are refused with advice") {
  check_file_refused("legacy.pt", "before version 1.6", "torch.save(torch.load(");
  check_file_refused("plain_pickle.pt", "before version 1.6");
  check_file_refused("protocol_4.pt", "protocol 4");
  check_file_refused("deflated.pt", "views/data.pkl", "compressed");
  check_file_refused("list.pt", "no dict");
  check_file_refused("nested.pt", "model, step", "state_dict");
}

TEST_CASE("a file is known by its first bytes, whatever its name is") {
  const TemporaryFolder folder;
  std::filesystem::copy_file(torch_path("views.pth"), folder.file("a.safetensors"));
  std::filesystem::copy_file(torch_path("expected_views.safetensors"), folder.file("a.ckpt"));
  write_file(folder.file("b.ckpt"), "neither of both");
  CHECK(is_torch_file(folder.file("a.safetensors")));
  CHECK_FALSE(is_torch_file(folder.file("a.ckpt")));
  CHECK(is_torch_file(folder.file("b.ckpt")));
  check_error(
      ExitCode::kData, [&] { TorchFile::open(folder.file("b.ckpt")); }, "b.ckpt", "no file of torch.save");
}

TEST_CASE("a file that is cut anywhere is refused") {
  const std::string good = read_file(torch_path("views.pth"), 1 << 20);
  CHECK(parse(good).tensors().size() == 8);
  for (std::size_t size = 0; size < good.size(); ++size) {
    INFO(size, " bytes");
    CHECK_THROWS_AS(parse(good.substr(0, size)), Error);
  }
}

TEST_CASE("a tensor that leaves its storage is refused by name") {
  CHECK(parse(with_tensor({})).tensors().size() == 1);
  CHECK(parse(with_tensor({.offset = 1, .shape = {5}, .strides = {1}})).tensors().at("t").bytes.size() == 20);
  check_refused(with_tensor({.offset = 1}), "'t'", "reaches 6 elements from 1 on", "has 6");
  check_refused(with_tensor({.offset = -1}), "'t'");
  check_refused(with_tensor({.offset = std::int64_t{1} << 62}), "'t'");
  check_refused(with_tensor({.strides = {4, 1}}), "'t'", "7 elements");
  check_refused(with_tensor({.strides = {-3, 1}}), "'t'", "negative");
  check_refused(with_tensor({.shape = {-2, 3}}), "'t'", "negative");
  check_refused(with_tensor({.strides = {1}}), "'t'", "2 dimensions but 1 strides");
  check_refused(with_tensor({.shape = {std::int64_t{1} << 62, 16}, .strides = {0, 0}}), "'t'", "overflows");
  check_refused(with_tensor({.shape = {2, 3}, .strides = {std::int64_t{1} << 62, std::int64_t{1} << 62}}), "'t'");
  check_refused(with_tensor({.shape = {std::int64_t{1} << 40}, .strides = {0}}), "'t'", "repeats");
  check_refused(with_tensor({.shape = std::vector<std::int64_t>(65, 1), .strides = std::vector<std::int64_t>(65, 1)}), "65 dimensions");
  check_refused(with_tensor({.shape = {0, -5}, .strides = {1, 1}}), "'t'", "dimension 1 has size -5");
  check_refused(with_tensor({.shape = {0, 2}, .strides = {1, -1}}), "'t'", "stride -1");
  check_refused(with_tensor({.shape = {0, std::int64_t{1} << 62, 2}, .strides = {0, 0, 0}}), "'t'", "overflows");
  CHECK(parse(with_tensor({.shape = {std::int64_t{1} << 62, 0}, .strides = {1, 1}})).tensors().at("t").bytes.empty());
}

TEST_CASE("a storage that is not as it is said to be is refused with the tensor's name") {
  check_refused(with_tensor({.key = "7"}), "'t'", "'7'", "not in the file");
  check_refused(with_tensor({.count = 7}), "'t'", "24 bytes", "7 elements");
  check_refused(with_tensor({.type = "DoubleStorage"}), "'t'", "24 bytes");
  check_refused(with_tensor({.count = -6}), "'t'");
  check_refused(with_tensor({.count = std::int64_t{1} << 62}), "'t'");
  check_refused(with_tensor({.type = "QInt8Storage"}), "torch.QInt8Storage");
  check_refused(make_torch_file(pickle_dict({{"t", pickle_tensor({})}}), {kSixFloats}, "big"), "big-endian");
}

TEST_CASE("a small file cannot describe many times its own bytes") {
  std::vector<std::pair<std::string, std::string>> items;
  for (int i = 0; i < 4000; ++i)
    items.emplace_back(fmt::format("t{}", i), pickle_tensor({.count = 60000, .shape = {60000}, .strides = {1}}));
  check_refused(make_torch_file(pickle_dict(items), {std::string(240000, 'x')}), "more than 8 times");
}

TEST_CASE("a pickle that never ends or nests without end is refused") {
  check_refused(make_torch_file("\x80\x02" + std::string(1 << 20, 'N') + ".", {}), "more than 262144 steps");
  check_refused(make_torch_file("\x80\x02" + std::string(200000, ']') + std::string(199999, 'a') + ".", {}), "more than 262144 steps");
  std::string nested = ")";
  nested.append(200000, '\x85');  // a tuple in a tuple in a tuple
  CHECK(parse(make_torch_file(pickle_dict({{"deep", nested}, {"t", pickle_tensor({})}}), {kSixFloats})).left_out() ==
        std::vector<std::string>{"deep"});
}

TEST_CASE("broken pickles are refused") {
  const auto program = [](const std::string& rest) { return make_torch_file("\x80\x02" + rest, {}); };
  check_refused(program(""), "cut short");
  check_refused(program("."), "takes more than it put down");
  check_refused(program("NN."), "goes on behind its end");
  check_refused(program("N.N"), "goes on behind its end");
  check_refused(program("u."), "closes what it did not open");
  check_refused(program("(a."), "takes more than it put down");
  check_refused(program("h\x05."), "slot 5");
  check_refused(program("NNs."), "damaged");
  check_refused(program("}(" + pickle_text("a") + "u."), "without a value");
  check_refused(program("NR."), "damaged");
  check_refused(program("]" + pickle_tuple({1}) + "R."), "no global");
  check_refused(program("NNb."), "no dict");
  check_refused(program("NQ."), "no storage");
  check_refused(program("X" + u32(0xFFFFFFFF) + "a."), "cut short");
  check_refused(program(pickle_text("\xFF") + "."), "not UTF-8");
  check_refused(program("\x8A\x09" + std::string(9, 'x') + "."), "9 bytes");
  check_refused(program(pickle_global("collections", "OrderedDict") + "(Nt" + "R."), "1 arguments");
  check_refused(program(pickle_global("torch", "FloatStorage") + ")R."), "storage type");
  check_refused(program("\x81."), "0x81");
  check_refused(program("iposix\nsystem\n."), "0x69");
  check_refused(program("}."), "no named tensors");
}

TEST_CASE("a zip archive is read with its 64-bit records") {
  const std::string program = pickle_dict({{"t", pickle_tensor({})}});
  const std::vector<ZipSource> entries{{.name = "a/data.pkl", .data = program, .zip64 = true}, {.name = "a/data/0", .data = kSixFloats}};
  CHECK(parse(make_zip(entries, true)).tensors().size() == 1);
  CHECK(parse(make_zip(entries, false)).tensors().size() == 1);
}

TEST_CASE("zip archives that torch.save does not write are refused by the entry's name") {
  const ZipSource pickle{.name = "a/data.pkl", .data = pickle_dict({{"t", pickle_tensor({})}})};
  const auto with = [&](const ZipSource& other) { return make_zip({pickle, other}); };
  check_refused(with({.name = "a/data/0", .data = kSixFloats, .method = 8}), "'a/data/0'", "compressed");
  check_refused(with({.name = "a/data/0", .data = kSixFloats, .flags = 1}), "'a/data/0'", "encrypted");
  check_refused(with({.name = "a/data/0", .data = kSixFloats, .local_name = "a/data/1"}), "'a/data/0'", "another name");
  check_refused(with(pickle), "twice");
  check_refused(make_zip({{.name = "a/else", .data = "x"}}), "without data.pkl");
  check_refused(make_zip({pickle, {.name = "b/data.pkl", .data = pickle.data}}), "more than one data.pkl");
}

TEST_CASE("entries of a zip archive that overlap are refused") {
  std::string archive = make_zip({{.name = "a/data.pkl", .data = std::string(100, 'x')}, {.name = "a/data.pkm", .data = "y"}});
  // The second row of the directory points into the first entry, where a copy of its header stands.
  const std::size_t second = archive.rfind("a/data.pkm") - 46, target = 60;
  const std::size_t header = archive.find("a/data.pkm") - 30;
  archive.replace(target, 41, archive.substr(header, 41));
  archive.replace(second + 42, 4, u32(target));
  check_refused(archive, "overlap");
}

TEST_CASE("a directory that does not fit the archive is refused") {
  const std::string good = with_tensor({});
  const std::size_t end = good.size() - 22;
  const auto with = [&](std::size_t offset, const std::string& bytes) {
    return std::string(good).replace(end + offset, bytes.size(), bytes);
  };
  check_refused(with(10, u16(60000)), "does not fit");
  check_refused(with(12, u32(0x7FFFFFFF)), "does not fit");
  check_refused(with(16, u32(0x7FFFFFFF)), "does not fit");
  check_refused(with(16, u32(0xFFFFFFFF)), "zip64");
  check_refused(with(16, u32(1)), "damaged");
}

}  // namespace nabla
