// A table of words and numbers, and the forms in which it is written. What stands in the tables of a report
// is in tables.h; here is only how a table looks. Cells are plain text: each form escapes them.
#pragma once

#include <string>
#include <vector>

namespace quench::coordinator {

struct Column {
  std::string title;
  bool is_words = false;  // flush left; numbers are flush right
};

struct Table {
  std::string title;
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  // each as long as `columns`
  std::vector<std::string> notes;              // what the columns mean, below the table
};

std::string table_to_text(const Table& table);      // for a terminal, indented, without the title
std::string table_to_markdown(const Table& table);  // GitHub's form, under a heading
std::string table_to_latex(const Table& table);     // a `table` of package booktabs
std::string table_to_html(const Table& table);      // in a box that scrolls, without the title

}  // namespace quench::coordinator
