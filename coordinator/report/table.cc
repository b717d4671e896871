#include "coordinator/report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "coordinator/report/escape.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr std::size_t kNoteWidth = 112;

std::string padded(const std::string& cell, std::size_t width, bool is_words) {
  const std::string space(width - std::min(width, text_width(cell)), ' ');
  return is_words ? cell + space : space + cell;
}

// Breaks a note at spaces.
std::string wrapped(const std::string& note) {
  std::string text, line;
  std::size_t at = 0;
  while (at < note.size()) {
    const std::size_t end = std::min(note.find(' ', at), note.size());
    const std::string word = note.substr(at, end - at);
    if (!line.empty() && text_width(line) + 1 + text_width(word) > kNoteWidth) {
      text += "  " + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  return text + "  " + line + "\n";
}

void check_shape(const Table& table) {
  for (const auto& row : table.rows)
    QUENCH_CHECK(row.size() == table.columns.size(), row.size(), table.columns.size());
}

}  // namespace

std::string table_to_text(const Table& table) {
  check_shape(table);
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    widths.push_back(text_width(table.columns[i].title));
    for (const auto& row : table.rows) widths[i] = std::max(widths[i], text_width(terminal_text(row[i])));
  }
  std::string text;
  const auto add_line = [&](const auto& cell) {
    std::string line;
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      line += "  " + padded(cell(i), widths[i], table.columns[i].is_words);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  add_line([&](std::size_t i) { return table.columns[i].title; });
  std::size_t rule = 0;
  for (const std::size_t width : widths) rule += width + 2;
  text += "  " + std::string(rule - std::min<std::size_t>(rule, 2), '-') + "\n";
  for (const auto& row : table.rows) add_line([&](std::size_t i) { return terminal_text(row[i]); });
  if (!table.notes.empty()) text += "\n";
  for (const std::string& note : table.notes) text += wrapped(terminal_text(note));
  return text;
}

std::string table_to_markdown(const Table& table) {
  check_shape(table);
  std::string text = "## " + markdown_text(table.title) + "\n\n|";
  for (const Column& column : table.columns) text += " " + markdown_text(column.title) + " |";
  text += "\n|";
  for (const Column& column : table.columns) text += column.is_words ? " :-- |" : " --: |";
  for (const auto& row : table.rows) {
    text += "\n|";
    for (const std::string& cell : row) text += " " + markdown_text(cell) + " |";
  }
  text += "\n";
  for (const std::string& note : table.notes) text += "\n" + markdown_text(note) + "\n";
  return text;
}

std::string table_to_latex(const Table& table) {
  check_shape(table);
  std::string text =
      "\\begin{table}\n\\centering\n\\caption{" + latex_text(table.title) + "}\n\\begin{tabular}{";
  for (const Column& column : table.columns) text += column.is_words ? 'l' : 'r';
  text += "}\n\\toprule\n";
  const auto add_line = [&](const auto& cell) {
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      text += (i == 0 ? "" : " & ") + latex_text(cell(i));
    text += " \\\\\n";
  };
  add_line([&](std::size_t i) { return table.columns[i].title; });
  text += "\\midrule\n";
  for (const auto& row : table.rows) add_line([&](std::size_t i) { return row[i]; });
  text += "\\bottomrule\n\\end{tabular}\n";
  for (const std::string& note : table.notes)
    text += "\n\\smallskip\n{\\footnotesize " + latex_text(note) + "}\n";
  return text + "\\end{table}\n";
}

std::string table_to_html(const Table& table) {
  check_shape(table);
  std::string text = "<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr>";
  const auto of_kind = [&](std::size_t i) { return table.columns[i].is_words ? " class=\"words\"" : ""; };
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    text += fmt::format("<th scope=\"col\"{}>{}</th>", of_kind(i), html_text(table.columns[i].title));
  text += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i)
      text += i == 0 ? fmt::format("<th scope=\"row\"{}>{}</th>", of_kind(i), html_text(row[i]))
                     : fmt::format("<td{}>{}</td>", of_kind(i), html_text(row[i]));
    text += "</tr>\n";
  }
  text += "</tbody></table></div>\n";
  for (const std::string& note : table.notes) text += "<p class=\"note\">" + html_text(note) + "</p>\n";
  return text;
}

}  // namespace quench::coordinator
