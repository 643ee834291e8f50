#include "common/error.h"
#include "tests/common/error_check.h"
#include "tests/protocol/sample_record.h"

namespace nabla {

TEST_CASE("tensors are laid out in name order at multiples of 64 with zeros between them") {
  const std::vector<std::uint8_t> three{1, 2, 3};
  const std::vector<double> one{2.5};
  const PackedTensors packed = pack_tensors({{"b", {DType::kU8, {3}, std::as_bytes(std::span(three))}},
                                             {"c", {DType::kF64, {}, std::as_bytes(std::span(one))}},
                                             {"a", {DType::kU8, {3, 1}, std::as_bytes(std::span(three))}}});
  REQUIRE(packed.table.size() == 3);
  CHECK(packed.table[0].name == "a");
  CHECK(packed.table[1].offset == 64);
  CHECK(packed.table[2].offset == 128);
  CHECK(packed.table[2].size == 8);
  CHECK(packed.data.view.size() == 136);
  CHECK(reinterpret_cast<std::uintptr_t>(packed.data.view.data()) % 64 == 0);
  CHECK(packed.data.view[2] == std::byte{3});
  for (std::size_t i = 3; i < 64; ++i) REQUIRE(packed.data.view[i] == std::byte{0});
  CHECK_FALSE(find_table_fault(packed.table, packed.data.view.size()));
  CHECK(find_tensor(packed.table, "b") == &packed.table[1]);
  CHECK(find_tensor(packed.table, "d") == nullptr);
}

TEST_CASE("a tensor whose bytes do not fit its shape is not packed") {
  const std::vector<float> values(5);
  check_error(
      ExitCode::kData,
      [&] {
        pack_tensors({{"odd", {DType::kF32, {2, 3}, std::as_bytes(std::span(values))}}});
      },
      "odd", "20 bytes");
  check_error(
      ExitCode::kData,
      [&] {
        pack_tensors({{"empty", {DType::kF32, {0}, {}}}});
      },
      "empty");
}

TEST_CASE("only the packer's own layout passes as a table") {
  const PackedTensors good = sample_tensors();
  const std::uint64_t frame = good.data.view.size();
  const auto fault_after = [&](auto change, std::uint64_t frame_bytes) {
    auto table = good.table;
    change(table);
    return find_table_fault(table, frame_bytes);
  };
  const auto nothing = [](auto&) {};
  CHECK_FALSE(fault_after(nothing, frame));
  CHECK(fault_after(nothing, frame + 1).value().find("the frame has") != std::string::npos);
  CHECK(fault_after(nothing, frame - 1));
  CHECK(fault_after([](auto& t) { std::swap(t[0], t[1]); }, frame).value().find("ascend") == std::string::npos);
  CHECK(fault_after([](auto& t) { t[1].name = t[0].name; }, frame).value().find("ascend") != std::string::npos);
  CHECK(fault_after([](auto& t) { t[1].offset = 0; }, frame).value().find("stands at byte 0") != std::string::npos);
  CHECK(fault_after([](auto& t) { t[1].offset += 4; }, frame));
  CHECK(fault_after([](auto& t) { t[1].offset = 1ull << 63; }, frame));
  CHECK(fault_after([](auto& t) { t[1].size -= 4; }, frame));
  CHECK(fault_after([](auto& t) { t[1].dtype = DType::kF64; }, frame));
  CHECK(fault_after([](auto& t) { t[1].shape[0] = -2; }, frame).value().find("below 1") != std::string::npos);
  CHECK(fault_after([](auto& t) { t[1].shape = {1ll << 40, 1ll << 40}; }, frame).value().find("can be counted") != std::string::npos);
  CHECK(fault_after([](auto& t) { t[1].shape.assign(9, 1); }, frame).value().find("9 dimensions") != std::string::npos);
  CHECK(fault_after([](auto& t) { t[0].name.clear(); }, frame));
  CHECK(fault_after(
            [](auto& t) {
              t[2].shape[1] = 1000;
              t[2].size *= 1000;
            },
            frame)
            .value()
            .find("behind the frame") != std::string::npos);
}

}  // namespace nabla
