#include "launch/report.h"

#include "launch/gallery.h"
#include "tests/common/temporary_folder.h"
#include "tests/launch/synthetic_run.h"
#include "tests/testing.h"

using namespace nabla;

namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string page_of(const RunSummary& summary, const std::string& picture = "") {
  return report_html(summary, synthetic_facts(), synthetic_updates(), picture, "seed: 7\nrun:\n  name: <b>&\n");
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("base64 gives the vectors of RFC 4648") {
  const std::pair<const char*, const char*> vectors[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) CHECK(base64(bytes) == text);
  CHECK(base64(std::string("\x00\xFF\xFB\xF0", 4)) == "AP/78A==");
}

TEST_CASE("a report is one page that asks for nothing from outside") {
  const std::string page = page_of(synthetic_summary(), "not really a picture");
  CHECK(page.starts_with("<!doctype html>"));
  CHECK(page.ends_with("</html>\n"));
  for (const char* part : {"http://", "https://", "<script", "<link", "@import", "url("}) CHECK_FALSE(holds(page, part));
  CHECK(count_of(page, "src=") == 1);
  CHECK(holds(page, "src=\"data:image/png;base64," + base64("not really a picture") + "\""));
}

TEST_CASE("a report holds the values of the run") {
  const std::string page = page_of(synthetic_summary());
  for (const char* part : {"20260131-142500-1a2b3c4d", "finished", "20 of 20 updates", "8 slots", "0123456789abcdef0123456789abcdef",
                           "5.00 → 7.00", "+1.60 standard deviations", "4.00 → 5.00", "0.500 → 0.460", "90% → 90%", "81 s", "3 actors",
                           "785", "157 trajectories", "7.000 ± 1.250", "5.000 ± 1.500", "0.2000", "seed: 7"})
    CHECK_MESSAGE(holds(page, part), part);
}

TEST_CASE("a report's books name every discard and what is left over") {
  RunSummary summary = synthetic_summary();
  CHECK(holds(page_of(summary), "<td>discarded: non_finite</td><td>1</td>"));
  CHECK(holds(page_of(summary), "books close)</td><td>0</td>"));
  summary.ledger.issued += 2;
  CHECK(holds(page_of(summary), "books close)</td><td>2</td>"));
  for (const char* part : {"<td>sampling</td><td>60.5 s</td>", "<td>peak memory, learner</td><td>700 MiB</td>",
                           "<td>rejects/bad_checksum</td><td>1</td>", "<td>learner, a transition: unet_backwards</td><td>2.00</td>"})
    CHECK_MESSAGE(holds(page_of(summary), part), part);
}

TEST_CASE("a report charts rewards, losses, norms, lag and speed") {
  const std::string page = page_of(synthetic_summary());
  CHECK(count_of(page, "<svg") == 9);
  for (const char* part : {"Reward</text>", "True reward", "Losses</text>", "Gradient norms", "Policy lag", "pictures a second"})
    CHECK_MESSAGE(holds(page, part), part);
}

TEST_CASE("texts cannot break the page") {
  RunSummary summary = synthetic_summary();
  summary.exit_reason = "failed: <img src=x> & \"more\"";
  const std::string page = page_of(summary);
  CHECK(holds(page, "failed: &lt;img src=x&gt; &amp; &quot;more&quot;"));
  CHECK_FALSE(holds(page, "<img"));
  CHECK(holds(page, "name: &lt;b&gt;&amp;"));
}

TEST_CASE("a run that ended before its first evaluation still has a report") {
  RunSummary summary;
  summary.exit_reason = "failed: no actor";
  const std::string page = report_html(summary, {}, {}, "", "");
  CHECK(holds(page, "failed: no actor"));
  CHECK(page.ends_with("</html>\n"));
  CHECK_FALSE(holds(page, "nan"));
}

TEST_CASE("a run without checker or true reward has no columns of invented values") {
  RunSummary summary = synthetic_summary();
  for (auto& evaluation : summary.evaluation) evaluation.has_checker = evaluation.has_true_reward = false;
  const std::string page = page_of(summary);
  CHECK_FALSE(holds(page, "prompt accuracy</span>"));
  CHECK_FALSE(holds(page, "held out"));
  CHECK(holds(page, "<td>7.000 ± 1.250</td><td>-</td><td>-</td>"));
}
