#include "codes/rules.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace facetools {

namespace {

__extension__ using uint128 = unsigned __int128;

std::size_t lowest_bit(std::uint64_t bits) { return static_cast<std::size_t>(__builtin_ctzll(bits)); }

// The tables of as many clusters as fit are held at a time.
constexpr std::size_t table_bytes = std::size_t{256} << 20;

// The codes as words of the attributes that differ, ordered by cluster: run c holds those of cluster c, and the last
// run holds the noise. Bit k of a word is set if attribute k is present, or, if bit k of `complements` is set, absent.
struct CodesByCluster {
  std::vector<std::size_t> attributes;  // those that differ, at most 64
  std::uint64_t complements = 0;        // the attributes that more than half of the faces have
  std::vector<std::uint64_t> words;     // (d,)
  std::vector<std::int64_t> counts;     // (d,)
  std::vector<std::size_t> starts;      // (runs + 1,) first code of each run
  std::vector<std::int64_t> faces;      // (runs,)
  std::int64_t all_faces = 0;

  CodesByCluster(const Codes& codes, const std::int64_t* code_counts, const std::int32_t* labels, std::size_t clusters)
      : attributes(varying_bits(codes)),
        words(codes.size),
        counts(codes.size),
        starts(clusters + 2),
        faces(clusters + 1) {
    if (attributes.size() > 64)
      throw std::invalid_argument("attributes: more than 64 differ between the faces");
    const auto run_of = [&](std::size_t i) { return labels[i] < 0 ? clusters : static_cast<std::size_t>(labels[i]); };
    for (std::size_t i = 0; i < codes.size; ++i) ++starts[run_of(i) + 1];
    for (std::size_t run = 0; run < faces.size(); ++run) starts[run + 1] += starts[run];
    std::vector<std::size_t> next(starts.begin(), starts.end() - 1);
    std::array<std::int64_t, 64> faces_with{};
    for (std::size_t i = 0; i < codes.size; ++i) {
      const std::size_t position = next[run_of(i)]++;
      words[position] = select_bits(codes[i]);
      counts[position] = code_counts[i];
      faces[run_of(i)] += code_counts[i];
      all_faces += code_counts[i];
      for (std::uint64_t bits = words[position]; bits; bits &= bits - 1) faces_with[lowest_bit(bits)] += code_counts[i];
    }
    for (std::size_t k = 0; k < 64; ++k) complements |= std::uint64_t{2 * faces_with[k] > all_faces} << k;
    for (std::uint64_t& word : words) word ^= complements;
  }

  std::size_t runs() const { return faces.size(); }
  std::size_t is_complement(std::size_t k) const { return complements >> k & 1; }

 private:
  std::uint64_t select_bits(const std::uint64_t* code) const {
    std::uint64_t word = 0;
    for (std::size_t k = 0; k < attributes.size(); ++k)
      word |= (code[attributes[k] / 64] >> (attributes[k] % 64) & 1) << k;
    return word;
  }
};

// Where the number of faces of each conjunction stands in a table: of one bit, of two (a < b), of three (a < b < c).
class TableLayout {
 public:
  explicit TableLayout(std::size_t attributes) : attributes_(attributes), rows_(attributes * attributes) {
    size_ = attributes + attributes * attributes;
    for (std::size_t a = 0; a < attributes; ++a)
      for (std::size_t b = a + 1; b < attributes; ++b) {
        rows_[a * attributes + b] = size_ - (b + 1);
        size_ += attributes - (b + 1);
      }
  }

  std::size_t size() const { return size_; }
  std::size_t at(std::size_t a) const { return a; }
  std::size_t at(std::size_t a, std::size_t b) const { return attributes_ * (a + 1) + b; }
  std::size_t at(std::size_t a, std::size_t b, std::size_t c) const { return rows_[a * attributes_ + b] + c; }

 private:
  std::size_t attributes_, size_;
  std::vector<std::size_t> rows_;  // (attributes, attributes)
};

// Adds the faces of one run to its conjunctions whose lowest bit is a.
void count_conjunctions(const CodesByCluster& codes, std::size_t run, std::size_t a, const TableLayout& layout,
                        std::int64_t* table) {
  std::array<std::size_t, 64> above;  // the set bits above a
  for (std::size_t i = codes.starts[run]; i < codes.starts[run + 1]; ++i) {
    const std::uint64_t from_a = codes.words[i] >> a;
    if (!(from_a & 1)) continue;
    std::size_t size = 0;
    for (std::uint64_t bits = from_a & ~std::uint64_t{1}; bits; bits &= bits - 1) above[size++] = a + lowest_bit(bits);
    const std::int64_t count = codes.counts[i];
    table[layout.at(a)] += count;
    for (std::size_t j = 0; j < size; ++j) {
      table[layout.at(a, above[j])] += count;
      const std::size_t row = layout.at(a, above[j], 0);
      for (std::size_t k = j + 1; k < size; ++k) table[row + above[k]] += count;
    }
  }
}

// The faces that each sign pattern of two or three bits selects. Bit 0 of a pattern is set if the last bit is absent,
// bit 1 for the one before, and so on.
using Pair = std::array<std::int64_t, 4>;
using Triple = std::array<std::int64_t, 8>;

Pair signed_counts(std::int64_t n, std::int64_t a, std::int64_t b, std::int64_t ab) {
  return {ab, a - ab, b - ab, n - a - b + ab};
}

Triple signed_counts(std::int64_t n, std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t ab, std::int64_t ac,
                     std::int64_t bc, std::int64_t abc) {
  return {abc,      ab - abc,          ac - abc,          a - ab - ac + abc,
          bc - abc, b - ab - bc + abc, c - ac - bc + abc, n - a - b - c + ab + ac + bc - abc};
}

// The best rule so far of some length for a cluster.
struct Best {
  std::int64_t matches = 0, selected = 0;
  std::array<std::int32_t, max_literals> literals{-1, -1, -1};

  bool is_worse_than(std::int64_t other_matches, std::int64_t other_selected, std::int64_t faces) const {
    return static_cast<uint128>(other_matches) * static_cast<uint128>(faces + selected) >
           static_cast<uint128>(matches) * static_cast<uint128>(faces + other_selected);
  }
};

using BestByLength = std::array<Best, max_literals>;

// The search for the rules of one cluster.
struct Search {
  const CodesByCluster& codes;
  const TableLayout& layout;
  const std::int64_t* own;  // the table of the cluster
  const std::int64_t* all;  // the table of all faces
  std::int64_t faces;       // of the cluster

  // Compares the rules of all signs on the attributes `on`.
  template <std::size_t length, class Counts>
  void update(Best& best, const std::array<std::size_t, length>& on, const Counts& matches,
              const Counts& selected) const {
    std::size_t flips = 0;
    for (const std::size_t a : on) flips = 2 * flips + codes.is_complement(a);
    for (std::size_t signs = 0; signs < matches.size(); ++signs) {
      const std::size_t pattern = signs ^ flips;
      if (!best.is_worse_than(matches[pattern], selected[pattern], faces)) continue;
      best.matches = matches[pattern];
      best.selected = selected[pattern];
      for (std::size_t i = 0; i < length; ++i)
        best.literals[i] = static_cast<std::int32_t>(2 * codes.attributes[on[i]] + (signs >> (length - 1 - i) & 1));
    }
  }

  // The best rules whose first attribute is a.
  BestByLength best_from(std::size_t a) const {
    BestByLength best;
    const std::array<std::int64_t, 2> own_one{own[layout.at(a)], faces - own[layout.at(a)]};
    const std::array<std::int64_t, 2> all_one{all[layout.at(a)], codes.all_faces - all[layout.at(a)]};
    update<1>(best[0], {a}, own_one, all_one);
    for (std::size_t b = a + 1; b < codes.attributes.size(); ++b) {
      const auto pair = [&](const std::int64_t* table, std::int64_t n) {
        return signed_counts(n, table[layout.at(a)], table[layout.at(b)], table[layout.at(a, b)]);
      };
      update<2>(best[1], {a, b}, pair(own, faces), pair(all, codes.all_faces));
      for (std::size_t c = b + 1; c < codes.attributes.size(); ++c) {
        const auto triple = [&](const std::int64_t* table, std::int64_t n) {
          return signed_counts(n, table[layout.at(a)], table[layout.at(b)], table[layout.at(c)],
                               table[layout.at(a, b)], table[layout.at(a, c)], table[layout.at(b, c)],
                               table[layout.at(a, b, c)]);
        };
        update<3>(best[2], {a, b, c}, triple(own, faces), triple(all, codes.all_faces));
      }
    }
    return best;
  }
};

}  // namespace

Rules find_rules(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                 int threads, Progress& progress) {
  Rules rules;
  rules.literals.assign(clusters * max_literals * max_literals, -1);
  rules.matches.assign(clusters * max_literals, 0);
  rules.selected.assign(clusters * max_literals, 0);
  const CodesByCluster sorted(codes, counts, labels, clusters);
  const std::size_t attributes = sorted.attributes.size();
  if (attributes == 0) return rules;

  const TableLayout layout(attributes);
  const std::size_t group = std::clamp<std::size_t>(table_bytes / (8 * layout.size()), 1, sorted.runs());
  const std::size_t groups = (sorted.runs() + group - 1) / group;
  std::vector<std::int64_t> tables(group * layout.size()), totals(layout.size());
  // Calls body(run, a) for each run of a group and each attribute.
  const auto for_each_slice = [&](std::size_t first, const auto& body) {
    const std::size_t runs = std::min(group, sorted.runs() - first);
    parallel_ranges(threads, runs * attributes, 1, progress, [&](std::size_t slice, std::size_t) {
      body(first + slice / attributes, slice % attributes);
    });
  };
  const auto count_group = [&](std::size_t first) {
    std::fill(tables.begin(), tables.end(), 0);
    for_each_slice(first, [&](std::size_t run, std::size_t a) {
      count_conjunctions(sorted, run, a, layout, &tables[(run - first) * layout.size()]);
    });
  };
  const auto start_phase = [&](std::size_t phase) {
    const double phases = 2 * static_cast<double>(groups);
    progress.start_phase(static_cast<double>(phase) / phases, static_cast<double>(phase + 1) / phases);
  };

  for (std::size_t g = 0; g < groups; ++g) {
    start_phase(g);
    count_group(g * group);
    for (std::size_t k = 0; k < tables.size(); ++k) totals[k % layout.size()] += tables[k];
  }
  std::vector<BestByLength> best(group * attributes);
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t first = g * group;
    start_phase(groups + g);
    if (groups > 1) count_group(first);  // one group still has its tables
    for_each_slice(first, [&](std::size_t run, std::size_t a) {
      if (run == clusters) return;  // noise
      const std::int64_t* own = &tables[(run - first) * layout.size()];
      const Search search{sorted, layout, own, totals.data(), sorted.faces[run]};
      best[(run - first) * attributes + a] = search.best_from(a);
    });
    for (std::size_t c = first; c < std::min(clusters, first + group); ++c)
      for (std::size_t l = 0; l < max_literals; ++l) {
        Best winner;
        for (std::size_t a = 0; a < attributes; ++a) {
          const Best& candidate = best[(c - first) * attributes + a][l];
          if (winner.is_worse_than(candidate.matches, candidate.selected, sorted.faces[c])) winner = candidate;
        }
        const std::size_t rule = c * max_literals + l;
        std::copy(winner.literals.begin(), winner.literals.end(), &rules.literals[rule * max_literals]);
        rules.matches[rule] = winner.matches;
        rules.selected[rule] = winner.selected;
      }
  }
  return rules;
}

}  // namespace facetools
