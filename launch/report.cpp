#include "launch/report.h"

#include "launch/summary.h"
#include "launch/svg_chart.h"

#include <fmt/format.h>

#include <cmath>

namespace nabla {

namespace {

constexpr const char* kStyle = R"(
:root{--paper:#fbfbf9;--card:#fff;--ink:#22262e;--muted:#666e7c;--line:#e3e4e0;--good:#146e48;--bad:#a8321f;
--c0:#2563a8;--c1:#d2691e;--c2:#2e8b57;--c3:#8a4fa3;--c4:#b5892b}
@media(prefers-color-scheme:dark){:root{--paper:#16181d;--card:#1e2127;--ink:#e6e7ea;--muted:#9aa1ad;--line:#32363e;--good:#5cc795;--bad:#f08a78;
--c0:#6ea8e8;--c1:#f0985a;--c2:#66c493;--c3:#c391da;--c4:#dcb75f}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 20px 60px}h1{font-size:26px;margin:0 0 2px}h2{font-size:18px;margin:36px 0 12px}
.sub{color:var(--muted);margin:0 0 20px;overflow-wrap:anywhere}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}.tile b{display:block;font-size:20px;line-height:1.3;white-space:nowrap}
.tile span{color:var(--muted);font-size:13px}.good{color:var(--good)}.bad{color:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:14px}.charts .card{padding:12px 10px 6px}
svg.chart{width:100%;height:auto;display:block}svg text{fill:var(--muted);font:12px system-ui,sans-serif}svg .title{fill:var(--ink);font-weight:600;font-size:15px}
svg .grid{stroke:var(--line)}svg .axis{stroke:var(--muted)}svg .curve{fill:none;stroke-width:2;stroke-linejoin:round}svg .band{opacity:.14}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}
.f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}
.gallery{background:#fff;border-radius:10px;border:1px solid var(--line);padding:4px;overflow-x:auto}.gallery img{width:100%;min-width:760px;display:block}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:6px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--muted);font-weight:500}.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,360px),1fr));gap:14px}
pre{margin:0;overflow:auto;max-height:480px;font:12.5px/1.5 ui-monospace,Menlo,Consolas,monospace}summary{cursor:pointer;font-weight:600}
)";

std::string cell(const std::string& text) { return "<td>" + escape_html(text) + "</td>"; }

std::string row(const std::vector<std::string>& cells) {
  std::string html = "<tr>";
  for (const auto& text : cells) html += cell(text);
  return html + "</tr>\n";
}

std::string head(const std::vector<std::string>& cells) {
  std::string html = "<tr>";
  for (const auto& text : cells) html += "<th>" + escape_html(text) + "</th>";
  return html + "</tr>\n";
}

std::string card(const std::string& content) { return "<div class=\"card wide\">" + content + "</div>\n"; }

std::string tile(const std::string& value, const std::string& name, const char* mood = "") {
  return fmt::format("<div class=\"tile\"><b class=\"{}\">{}</b><span>{}</span></div>\n", mood, escape_html(value), escape_html(name));
}

double gain_in_deviations(const EvaluationSummary& first, const EvaluationSummary& last) {
  return first.reward_std > 0.0 ? (last.reward_mean - first.reward_mean) / first.reward_std : 0.0;
}

std::string arrow(double from, double to, int digits = 2) { return fmt::format("{:.{}f} → {:.{}f}", from, digits, to, digits); }

std::string evaluation_tiles(const std::vector<EvaluationSummary>& evaluations) {
  if (evaluations.empty()) return "";
  const EvaluationSummary &first = evaluations.front(), &last = evaluations.back();
  const double gain = gain_in_deviations(first, last);
  std::string html = tile(arrow(first.reward_mean, last.reward_mean), fmt::format("reward, {:+.2f} standard deviations of the base", gain),
                          gain >= 0.0 ? "good" : "bad");
  if (first.has_true_reward) {
    html += tile(arrow(first.true_reward_mean, last.true_reward_mean), "true reward (held out)", last.true_reward_mean >= first.true_reward_mean ? "good" : "bad");
  }
  if (first.has_checker) {
    html += tile(arrow(first.diversity, last.diversity, 3), "diversity within a prompt");
    html += tile(fmt::format("{:.0f}% → {:.0f}%", 100.0 * first.prompt_accuracy, 100.0 * last.prompt_accuracy), "prompt accuracy");
  }
  return html;
}

std::string header(const RunSummary& summary, const RunFacts& facts) {
  const bool finished = summary.exit_reason == "finished";
  std::string html = fmt::format("<h1>Run {}</h1>\n<p class=\"sub\"><span class=\"{}\">{}</span> after {} of {} updates of {} slots × {} transitions · "
                                 "weights {}</p>\n<div class=\"tiles\">\n",
                                 escape_html(summary.run_id), finished ? "good" : "bad", escape_html(summary.exit_reason), summary.updates, facts.updates,
                                 facts.slots_per_update, facts.transitions_per_slot, escape_html(summary.weights_digest));
  html += evaluation_tiles(summary.evaluation);
  html += tile(fmt::format("{:.0f} s", summary.wall_s), fmt::format("wall time, {} actors", summary.actors_seen));
  html += tile(std::to_string(summary.unique_transitions), fmt::format("unique transitions of {} trajectories", summary.trajectories));
  return html + "</div>\n";
}

ChartSeries metric_series(const std::vector<UpdateReport>& updates, const std::string& metric, const std::string& name) {
  ChartSeries series{.name = name, .x = {}, .y = {}, .spread = {}};
  for (const auto& report : updates) {
    const auto found = report.metrics.find(metric);
    if (found == report.metrics.end()) continue;
    series.x.push_back(static_cast<double>(report.update));
    series.y.push_back(found->second);
  }
  return series;
}

template <class Value>
ChartSeries evaluation_series(const std::vector<EvaluationSummary>& evaluations, const std::string& name, Value&& value) {
  ChartSeries series{.name = name, .x = {}, .y = {}, .spread = {}, .marked = true};
  for (const auto& entry : evaluations) {
    series.x.push_back(static_cast<double>(entry.update));
    series.y.push_back(value(entry));
  }
  return series;
}

void add_evaluation_charts(std::vector<Chart>& charts, const std::vector<EvaluationSummary>& evaluations, const std::vector<UpdateReport>& updates) {
  Chart reward{.title = "Reward", .x_label = "update", .series = {evaluation_series(evaluations, "fixed pictures ± std", [](const auto& e) { return e.reward_mean; })}};
  for (const auto& entry : evaluations) reward.series.front().spread.push_back(entry.reward_std);
  reward.series.push_back(metric_series(updates, "reward_mean", "training batches"));
  charts.push_back(reward);
  if (!evaluations.empty() && evaluations.front().has_true_reward) {
    Chart truth{.title = "True reward (held out)", .x_label = "update",
                .series = {evaluation_series(evaluations, "fixed pictures ± std", [](const auto& e) { return e.true_reward_mean; })}};
    for (const auto& entry : evaluations) truth.series.front().spread.push_back(entry.true_reward_std);
    charts.push_back(truth);
  }
  if (!evaluations.empty() && evaluations.front().has_checker) {
    charts.push_back({.title = "Diversity within a prompt", .x_label = "update",
                      .series = {evaluation_series(evaluations, "mean pairwise 1 − cosine", [](const auto& e) { return e.diversity; })}, .from_zero = true});
    charts.push_back({.title = "Prompt accuracy", .x_label = "update",
                      .series = {evaluation_series(evaluations, "prompt", [](const auto& e) { return e.prompt_accuracy; }),
                                 evaluation_series(evaluations, "colour", [](const auto& e) { return e.color_accuracy; }),
                                 evaluation_series(evaluations, "shape", [](const auto& e) { return e.shape_accuracy; }),
                                 evaluation_series(evaluations, "count", [](const auto& e) { return e.count_accuracy; })}, .from_zero = true});
  }
  charts.push_back({.title = "Drift from the base model", .x_label = "update",
                    .series = {evaluation_series(evaluations, "RMS(ε − ε#) / RMS(ε#)", [](const auto& e) { return e.drift; })}});
}

void drop_empty(std::vector<ChartSeries>& series) {
  std::erase_if(series, [](const ChartSeries& entry) { return entry.x.empty(); });
}

void add_training_charts(std::vector<Chart>& charts, const std::vector<UpdateReport>& updates) {
  Chart losses{.title = "Losses", .x_label = "update",
               .series = {metric_series(updates, "loss_forward", "forward"), metric_series(updates, "losses_backward", "reverse"),
                          metric_series(updates, "loss_terminal", "terminal"), metric_series(updates, "unetreg", "regulariser")},
               .log_y = true};
  Chart norms{.title = "Gradient norms before clipping", .x_label = "update",
              .series = {metric_series(updates, "grad_norm", "LoRA"), metric_series(updates, "grad_norm_flow", "flow network")}, .log_y = true};
  Chart lag{.title = "Policy lag", .x_label = "update",
            .series = {metric_series(updates, "policy_lag/mean", "mean"), metric_series(updates, "policy_lag/max", "max")}, .from_zero = true};
  Chart speed{.title = "Training pictures a second", .x_label = "update", .series = {metric_series(updates, "perf/images_per_s", "pictures / s")}, .from_zero = true};
  for (Chart* chart : {&losses, &norms, &lag, &speed}) {
    drop_empty(chart->series);
    if (!chart->series.empty()) charts.push_back(*chart);
  }
}

std::string charts_section(const RunSummary& summary, const std::vector<UpdateReport>& updates) {
  std::vector<Chart> charts;
  add_evaluation_charts(charts, summary.evaluation, updates);
  add_training_charts(charts, updates);
  std::string html = "<h2>Over updates</h2>\n<div class=\"charts\">\n";
  for (const auto& chart : charts) html += "<div class=\"card\">" + draw_chart(chart) + "</div>\n";
  return html + "</div>\n";
}

std::string gallery_section(const std::string& png) {
  if (png.empty()) return "";
  return "<h2>Same prompts and noise, before and after</h2>\n<div class=\"gallery\"><img alt=\"Pictures before and after training\" src=\"data:image/png;base64," +
         base64(png) + "\"></div>\n";
}

std::string evaluation_section(const std::vector<EvaluationSummary>& evaluations) {
  std::string rows = head({"update", "reward", "true reward", "diversity", "prompt accuracy", "colour", "shape", "count", "drift"});
  for (const auto& e : evaluations) {
    const auto checked = [&](double share) { return e.has_checker ? fmt::format("{:.1f}%", 100.0 * share) : std::string("-"); };
    rows += row({std::to_string(e.update), fmt::format("{:.3f} ± {:.3f}", e.reward_mean, e.reward_std),
                 e.has_true_reward ? fmt::format("{:.3f} ± {:.3f}", e.true_reward_mean, e.true_reward_std) : "-",
                 e.has_checker ? fmt::format("{:.4f}", e.diversity) : "-", checked(e.prompt_accuracy), checked(e.color_accuracy), checked(e.shape_accuracy),
                 checked(e.count_accuracy), fmt::format("{:.4f}", e.drift)});
  }
  return "<h2>Evaluations on fixed prompts and noise</h2>\n" + card("<table>" + rows + "</table>");
}

std::string ledger_table(const LedgerSummary& ledger) {
  std::string rows = row({"issued", std::to_string(ledger.issued)}) + row({"trained", std::to_string(ledger.trained)});
  for (const auto& [reason, slots] : ledger.discarded) rows += row({"discarded: " + reason, std::to_string(slots)});
  rows += row({"outstanding", std::to_string(ledger.outstanding)}) + row({"residual (0 when the books close)", std::to_string(ledger.residual())});
  return card("<table>" + head({"ledger", "slots"}) + rows + "</table>");
}

std::string cost_table(const RunSummary& summary) {
  std::string rows;
  for (const auto& [stage, seconds] : summary.stage_seconds) rows += row({stage, fmt::format("{:.1f} s", seconds)});
  for (const auto& [role, bytes] : summary.peak_rss_bytes) rows += row({"peak memory, " + role, fmt::format("{:.0f} MiB", static_cast<double>(bytes) / (1 << 20))});
  rows += row({"policy lag", fmt::format("mean {:.2f}, max {}", summary.policy_lag_mean, summary.policy_lag_max)});
  for (const auto& [name, count] : learner_passes(summary)) rows += row({"learner, a transition: " + name, fmt::format("{:.2f}", count)});
  for (const auto& [name, count] : summary.counters) rows += row({name, std::to_string(count)});
  return card("<table>" + head({"where time and memory went", "all roles"}) + rows + "</table>");
}

}  // namespace

std::string base64(std::string_view bytes) {
  static constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < count ? static_cast<std::uint8_t>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) text += j <= count ? kLetters[group >> (18 - 6 * j) & 63U] : '=';
  }
  return text;
}

std::string report_html(const RunSummary& summary, const RunFacts& facts, const std::vector<UpdateReport>& updates, const std::string& gallery_png,
                        const std::string& config_text) {
  std::string html = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                     "<title>" + escape_html("nabla run " + summary.run_id) + "</title><style>" + kStyle + "</style></head><body><main>\n";
  html += header(summary, facts) + gallery_section(gallery_png) + charts_section(summary, updates);
  html += evaluation_section(summary.evaluation);
  html += "<h2>Books</h2>\n<div class=\"pair\">\n" + ledger_table(summary.ledger) + cost_table(summary) + "</div>\n";
  html += "<h2>Configuration</h2>\n<div class=\"card\"><details><summary>config.yaml</summary><pre>" + escape_html(config_text) + "</pre></details></div>\n";
  return html + "</main></body></html>\n";
}

}  // namespace nabla
