// The Python module facetools._core: checks arguments, releases the GIL and calls the algorithms in codes/.
//
// facetools/clustering/codes.py wraps and documents these functions. Arrays are never converted: dtype, dimensions and
// C order must match. `report` is called with the completed fraction of the work, or None. facetools/runtime/signals.py
// wraps the functions of the watchdog.
//
// Limits: 1 to 4 words per code, so 256 attributes; 2^40 faces in total; fewer than 2^32 - 1 distinct codes for dbscan,
// linkage and silhouette; values up to 1e200, weights of the silhouette up to 1e100, centroids up to 1e50.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "codes/codes.hpp"
#include "codes/dbscan.hpp"
#include "codes/distinct.hpp"
#include "codes/kmeans.hpp"
#include "codes/linkage.hpp"
#include "codes/mixture.hpp"
#include "codes/pack.hpp"
#include "codes/parallel.hpp"
#include "codes/rules.hpp"
#include "codes/silhouette.hpp"
#include "process/watchdog.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class T>
using Array2 = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
using Array1 = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

using OptionalValues = std::optional<Array1<double>>;

constexpr std::int64_t max_faces = std::int64_t{1} << 40;

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

const double* data_or_null(const OptionalValues& values) { return values ? values->data() : nullptr; }

// A NumPy array that takes over the memory of a vector.
template <class T>
nb::object to_numpy(std::vector<T>&& values, std::initializer_list<std::size_t> shape) {
  auto* storage = new std::vector<T>(std::move(values));
  nb::capsule owner(storage, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(storage->data(), shape, owner));
}

// Reports progress to Python. Checks for signals before, so that Ctrl-C stops the work.
Progress make_progress(const nb::object& report) {
  return Progress([report](double fraction) {
    const nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (!report.is_none()) report(fraction);
  });
}

Codes as_codes(const Array2<std::uint64_t>& codes) {
  require(codes.shape(1) >= 1 && codes.shape(1) <= max_words, "codes: must have 1 to 4 words per row");
  return {codes.data(), codes.shape(0), static_cast<int>(codes.shape(1))};
}

void check_attributes(const Codes& codes, std::size_t attributes) {
  const auto width = static_cast<std::size_t>(codes.width);
  require(attributes <= 64 * width, "attributes: exceeds the number of bits per code");
  for (std::size_t w = 0; w < width; ++w) {
    const std::size_t used_bits = std::min<std::size_t>(64, attributes - std::min(attributes, 64 * w));
    if (used_bits == 64) continue;
    std::uint64_t set_bits = 0;
    for (std::size_t i = 0; i < codes.size; ++i) set_bits |= codes[i][w];
    require(set_bits >> used_bits == 0, "codes: a bit beyond the last attribute is set");
  }
}

void check_values(const OptionalValues& values, std::size_t attributes) {
  if (!values) return;
  require(values->shape(0) == attributes, "values: must have one element per attribute");
  for (std::size_t a = 0; a < attributes; ++a)
    require((*values)(a) >= 0 && (*values)(a) <= 1e200, "values: must be from 0 to 1e200");
}

// Weights are squared, unlike values.
void check_weights(const OptionalValues& weights, std::size_t attributes) {
  if (!weights) return;
  require(weights->shape(0) == attributes, "weights: must have one element per attribute");
  for (std::size_t a = 0; a < attributes; ++a)
    require((*weights)(a) >= 0 && (*weights)(a) <= 1e100, "weights: must be from 0 to 1e100");
}

// Checks labels from -1 to codes - 1, of at least two clusters. Returns the largest label.
std::int32_t check_clusters(const Codes& codes, const Array1<std::int32_t>& labels) {
  require(labels.shape(0) == codes.size, "labels: must have one element per code");
  std::int32_t first = -1, last = -1;
  bool has_two = false;
  for (std::size_t i = 0; i < codes.size; ++i) {
    require(labels(i) >= -1, "labels: must be at least -1");
    require(labels(i) < static_cast<std::int64_t>(codes.size), "labels: must be below the number of codes");
    if (labels(i) < 0) continue;
    if (first < 0) first = labels(i);
    has_two |= labels(i) != first;
    last = std::max(last, labels(i));
  }
  require(has_two, "labels: must have at least 2 clusters");
  return last;
}

void check_counts(const Codes& codes, const Array1<std::int64_t>& counts) {
  require(counts.shape(0) == codes.size, "counts: must have one element per code");
  std::int64_t faces = 0;
  for (std::size_t i = 0; i < codes.size; ++i) {
    require(counts(i) >= 1, "counts: must be at least 1");
    require(counts(i) <= max_faces - faces, "counts: the sum exceeds 2^40 faces");
    faces += counts(i);
  }
}

template <class Value>
nb::object py_pack(const Array2<Value>& rows, double threshold, int threads, const nb::object& report) {
  const std::size_t n = rows.shape(0), attributes = rows.shape(1);
  require(attributes <= 64 * max_words, "rows: must have at most 256 attributes");
  require(threshold == threshold, "threshold: must not be NaN");
  const std::size_t width = std::max<std::size_t>(1, (attributes + 63) / 64);
  std::vector<std::uint64_t> codes(n * width);
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    pack(rows.data(), n, attributes, threshold, codes.data(), threads, progress);
  }
  return to_numpy(std::move(codes), {n, width});
}

nb::object py_unpack(const Array2<std::uint64_t>& array, std::size_t attributes, int threads,
                     const nb::object& report) {
  const Codes codes = as_codes(array);
  check_attributes(codes, attributes);
  std::vector<std::uint8_t> values(codes.size * attributes);
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    unpack(codes, attributes, values.data(), threads, progress);
  }
  return to_numpy(std::move(values), {codes.size, attributes});
}

nb::tuple py_distinct(const Array2<std::uint64_t>& array, const nb::object& report) {
  const Codes codes = as_codes(array);
  std::vector<std::int64_t> inverse(codes.size);
  DistinctCodes result;
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    result = find_distinct(codes, inverse.data(), progress);
  }
  const std::size_t d = result.counts.size();
  return nb::make_tuple(to_numpy(std::move(result.codes), {d, static_cast<std::size_t>(codes.width)}),
                        to_numpy(std::move(result.counts), {d}), to_numpy(std::move(inverse), {codes.size}),
                        to_numpy(std::move(result.first_rows), {d}));
}

Metric parse_metric(const std::string& name) {
  if (name == "euclidean") return Metric::euclidean;
  if (name == "sqeuclidean") return Metric::sqeuclidean;
  if (name == "manhattan") return Metric::manhattan;
  if (name == "cosine") return Metric::cosine;
  throw std::invalid_argument("metric: must be euclidean, sqeuclidean, manhattan or cosine");
}

nb::tuple py_silhouette(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts,
                        const Array1<std::int32_t>& labels, std::size_t attributes, const std::string& metric_name,
                        const OptionalValues& weights, int threads, const nb::object& report) {
  const Codes codes = as_codes(array);
  const Metric metric = parse_metric(metric_name);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(codes.size < UINT32_MAX, "codes: must be fewer than 2^32 - 1");
  check_weights(weights, attributes);
  const std::size_t clusters = static_cast<std::size_t>(check_clusters(codes, labels)) + 1;
  std::vector<double> samples(codes.size);
  double mean = 0;
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    mean = silhouette(codes, counts.data(), labels.data(), clusters, attributes, metric, data_or_null(weights),
                      samples.data(), threads, progress);
  }
  return nb::make_tuple(mean, to_numpy(std::move(samples), {codes.size}));
}

nb::object py_dbscan(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts, std::size_t radius,
                     std::int64_t min_samples, int threads, const nb::object& report) {
  const Codes codes = as_codes(array);
  check_counts(codes, counts);
  require(codes.size < UINT32_MAX, "codes: must be fewer than 2^32 - 1");
  require(min_samples >= 1, "min_samples: must be at least 1");
  std::vector<std::int32_t> labels(codes.size);
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    dbscan(codes, counts.data(), std::min<std::size_t>(radius, 64 * max_words), min_samples, labels.data(), threads, progress);
  }
  return to_numpy(std::move(labels), {codes.size});
}

LinkageMethod parse_method(const std::string& name) {
  if (name == "ward") return LinkageMethod::ward;
  if (name == "average") return LinkageMethod::average;
  if (name == "centroid") return LinkageMethod::centroid;
  if (name == "single") return LinkageMethod::single;
  if (name == "complete") return LinkageMethod::complete;
  throw std::invalid_argument("method: must be ward, average, centroid, single or complete");
}

nb::object py_linkage(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts, std::size_t attributes,
                      const std::string& method_name, const OptionalValues& values, int threads,
                      const nb::object& report) {
  const Codes codes = as_codes(array);
  const LinkageMethod method = parse_method(method_name);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(codes.size >= 1, "codes: must not be empty");
  require(codes.size < UINT32_MAX, "codes: must be fewer than 2^32 - 1");
  check_values(values, attributes);
  std::vector<double> tree;
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    const std::vector<Merge> merges =
        linkage(codes, counts.data(), attributes, method, data_or_null(values), threads, progress);
    tree = to_scipy_linkage(merges, counts.data());
  }
  return to_numpy(std::move(tree), {codes.size - 1, 4});
}

nb::object py_cut(const Array2<double>& tree, std::size_t clusters) {
  const std::size_t merges = tree.shape(0), codes = merges + 1;
  require(tree.shape(1) == 4, "tree: must have four columns");
  require(clusters >= 1 && clusters <= codes, "clusters: must be from 1 to the number of codes");
  require(codes <= INT32_MAX, "tree: must have fewer than 2^31 - 1 rows");
  std::vector<bool> is_merged(codes + merges);
  for (std::size_t m = 0; m < merges; ++m)
    for (const std::size_t side : {0, 1}) {
      const double child = tree(m, side);
      require(child >= 0 && child < static_cast<double>(codes + m) && child == std::floor(child),
              "tree: a row merges a cluster that does not exist yet");
      const auto node = static_cast<std::size_t>(child);
      require(!is_merged[node], "tree: a cluster is merged twice");
      is_merged[node] = true;
    }
  std::vector<std::int32_t> labels(codes);
  cut_tree(tree.data(), codes, clusters, labels.data());
  return to_numpy(std::move(labels), {codes});
}

nb::tuple py_kmeans_assign(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts,
                           const Array2<double>& centroids, const OptionalValues& values, int threads,
                           const nb::object& report) {
  const Codes codes = as_codes(array);
  const std::size_t clusters = centroids.shape(0), attributes = centroids.shape(1);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(clusters >= 1 && clusters <= INT32_MAX, "centroids: must have 1 to 2^31 - 1 rows");
  require(std::all_of(centroids.data(), centroids.data() + centroids.size(),
                      [](double x) { return std::abs(x) <= 1e50; }),
          "centroids: must be from -1e50 to 1e50");
  check_values(values, attributes);
  std::vector<std::int32_t> labels(codes.size);
  std::vector<double> distances(codes.size);
  double inertia = 0;
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    kmeans_assign(codes, attributes, centroids.data(), clusters, data_or_null(values), labels.data(), distances.data(),
                  threads, progress);
    for (std::size_t i = 0; i < codes.size; ++i) inertia += static_cast<double>(counts(i)) * distances[i];
  }
  return nb::make_tuple(to_numpy(std::move(labels), {codes.size}), to_numpy(std::move(distances), {codes.size}),
                        inertia);
}

nb::tuple py_kmeans_update(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts,
                           const Array1<std::int32_t>& labels, std::size_t clusters, std::size_t attributes,
                           int threads, const nb::object& report) {
  const Codes codes = as_codes(array);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(labels.shape(0) == codes.size, "labels: must have one element per code");
  require(clusters >= 1 && clusters <= std::max<std::size_t>(codes.size, 65536) && clusters <= INT32_MAX,
          "clusters: must be from 1 to 65536, or to the number of codes");
  for (std::size_t i = 0; i < codes.size; ++i)
    require(labels(i) >= -1 && labels(i) < static_cast<std::int64_t>(clusters),
            "labels: must be from -1 to clusters - 1");
  std::vector<std::int64_t> sums(clusters * attributes), sizes(clusters);
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    kmeans_update(codes, counts.data(), labels.data(), clusters, attributes, sums.data(), sizes.data(), threads,
                  progress);
  }
  return nb::make_tuple(to_numpy(std::move(sums), {clusters, attributes}), to_numpy(std::move(sizes), {clusters}));
}

nb::object py_kmeans_seed(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts,
                          std::size_t attributes, std::size_t clusters, std::uint64_t seed,
                          const OptionalValues& values, int threads, const nb::object& report) {
  const Codes codes = as_codes(array);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(clusters >= 1 && clusters <= codes.size, "clusters: must be from 1 to the number of codes");
  check_values(values, attributes);
  std::vector<std::int64_t> seeds;
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    seeds = kmeans_seed(codes, counts.data(), attributes, clusters, seed, data_or_null(values), threads, progress);
  }
  return to_numpy(std::move(seeds), {clusters});
}

// Checks the parameters of a mixture; the arguments are those of Mixture.
Mixture as_mixture(const Codes& codes, const Array1<double>& log_weights, const Array2<double>& log_present,
                   const Array2<double>& log_absent) {
  const std::size_t clusters = log_present.shape(0), attributes = log_present.shape(1);
  check_attributes(codes, attributes);
  require(clusters >= 1 && clusters <= INT32_MAX, "log_present: must have 1 to 2^31 - 1 rows");
  require(log_absent.shape(0) == clusters && log_absent.shape(1) == attributes,
          "log_absent: must have the shape of log_present");
  require(log_weights.shape(0) == clusters, "log_weights: must have one element per cluster");
  const auto is_valid = [](double x) { return x >= -1e4 && x <= 0; };
  require(std::all_of(log_present.data(), log_present.data() + log_present.size(), is_valid),
          "log_present: must be from -1e4 to 0");
  require(std::all_of(log_absent.data(), log_absent.data() + log_absent.size(), is_valid),
          "log_absent: must be from -1e4 to 0");
  const double* end = log_weights.data() + clusters;
  require(std::all_of(log_weights.data(), end, [&](double x) { return is_valid(x) || (std::isinf(x) && x < 0); }),
          "log_weights: must be from -1e4 to 0, or -infinity");
  require(std::any_of(log_weights.data(), end, is_valid), "log_weights: must not all be -infinity");
  return {clusters, attributes, log_weights.data(), log_present.data(), log_absent.data()};
}

nb::tuple py_mixture_expect(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts,
                            const Array1<double>& log_weights, const Array2<double>& log_present,
                            const Array2<double>& log_absent, int threads, const nb::object& report) {
  const Codes codes = as_codes(array);
  check_counts(codes, counts);
  const Mixture mixture = as_mixture(codes, log_weights, log_present, log_absent);
  MixtureCounts expected;
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    expected = mixture_expect(codes, counts.data(), mixture, threads, progress);
  }
  return nb::make_tuple(to_numpy(std::move(expected.sizes), {mixture.clusters}),
                        to_numpy(std::move(expected.present), {mixture.clusters, mixture.attributes}),
                        to_numpy(std::move(expected.absent), {mixture.clusters, mixture.attributes}),
                        expected.log_likelihood);
}

nb::object py_mixture_posteriors(const Array2<std::uint64_t>& array, const Array1<double>& log_weights,
                                 const Array2<double>& log_present, const Array2<double>& log_absent, int threads,
                                 const nb::object& report) {
  const Codes codes = as_codes(array);
  const Mixture mixture = as_mixture(codes, log_weights, log_present, log_absent);
  std::vector<double> posteriors(codes.size * mixture.clusters);
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    mixture_posteriors(codes, mixture, posteriors.data(), threads, progress);
  }
  return to_numpy(std::move(posteriors), {codes.size, mixture.clusters});
}

nb::tuple py_find_rules(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts,
                        const Array1<std::int32_t>& labels, std::size_t clusters, int threads,
                        const nb::object& report) {
  const Codes codes = as_codes(array);
  check_counts(codes, counts);
  require(labels.shape(0) == codes.size, "labels: must have one element per code");
  require(clusters >= 1 && clusters <= codes.size, "clusters: must be from 1 to the number of codes");
  std::vector<bool> has_faces(clusters);
  for (std::size_t i = 0; i < codes.size; ++i) {
    require(labels(i) >= -1 && labels(i) < static_cast<std::int64_t>(clusters),
            "labels: must be from -1 to clusters - 1");
    if (labels(i) >= 0) has_faces[static_cast<std::size_t>(labels(i))] = true;
  }
  require(std::find(has_faces.begin(), has_faces.end(), false) == has_faces.end(),
          "labels: must occur for each cluster");
  Rules rules;
  Progress progress = make_progress(report);
  {
    const nb::gil_scoped_release release;
    rules = find_rules(codes, counts.data(), labels.data(), clusters, threads, progress);
  }
  return nb::make_tuple(to_numpy(std::move(rules.literals), {clusters, max_literals, max_literals}),
                        to_numpy(std::move(rules.matches), {clusters, max_literals}),
                        to_numpy(std::move(rules.selected), {clusters, max_literals}));
}

// By signal number: status, grace and hands_over.
using EndingTuples = std::map<int, std::tuple<int, double, bool>>;

Endings as_endings(const EndingTuples& tuples) {
  Endings endings;
  for (const auto& [number, ending] : tuples)
    endings[number] = {std::get<0>(ending), std::get<1>(ending), std::get<2>(ending)};
  return endings;
}

}  // namespace

}  // namespace facetools

NB_MODULE(_core, m) {
  using namespace facetools;
  const auto codes = [] { return nb::arg("codes").noconvert(); };
  const auto counts = [] { return nb::arg("counts").noconvert(); };
  const auto rows = [] { return nb::arg("rows").noconvert(); };

  m.def("pack", py_pack<float>, rows(), "threshold"_a, "threads"_a, "report"_a.none());
  m.def("pack", py_pack<double>, rows(), "threshold"_a, "threads"_a, "report"_a.none());
  m.def("pack", py_pack<std::uint8_t>, rows(), "threshold"_a, "threads"_a, "report"_a.none());
  m.def("unpack", py_unpack, codes(), "attributes"_a, "threads"_a, "report"_a.none());
  m.def("distinct", py_distinct, codes(), "report"_a.none());
  m.def("silhouette", py_silhouette, codes(), counts(), nb::arg("labels").noconvert(), "attributes"_a, "metric"_a,
        nb::arg("weights").noconvert().none(), "threads"_a, "report"_a.none());
  m.def("dbscan", py_dbscan, codes(), counts(), "radius"_a, "min_samples"_a, "threads"_a, "report"_a.none());
  m.def("linkage", py_linkage, codes(), counts(), "attributes"_a, "method"_a,
        nb::arg("values").noconvert().none(), "threads"_a, "report"_a.none());
  m.def("cut", py_cut, nb::arg("tree").noconvert(), "clusters"_a);
  m.def("kmeans_assign", py_kmeans_assign, codes(), counts(), nb::arg("centroids").noconvert(),
        nb::arg("values").noconvert().none(), "threads"_a, "report"_a.none());
  m.def("kmeans_update", py_kmeans_update, codes(), counts(), nb::arg("labels").noconvert(), "clusters"_a,
        "attributes"_a, "threads"_a, "report"_a.none());
  m.def("kmeans_seed", py_kmeans_seed, codes(), counts(), "attributes"_a, "clusters"_a, "seed"_a,
        nb::arg("values").noconvert().none(), "threads"_a, "report"_a.none());
  m.def("mixture_expect", py_mixture_expect, codes(), counts(), nb::arg("log_weights").noconvert(),
        nb::arg("log_present").noconvert(), nb::arg("log_absent").noconvert(), "threads"_a, "report"_a.none());
  m.def("mixture_posteriors", py_mixture_posteriors, codes(), nb::arg("log_weights").noconvert(),
        nb::arg("log_present").noconvert(), nb::arg("log_absent").noconvert(), "threads"_a, "report"_a.none());
  m.def("find_rules", py_find_rules, codes(), counts(), nb::arg("labels").noconvert(), "clusters"_a, "threads"_a,
        "report"_a.none());
  m.def("simd", [] { return kernels().name; });

  m.def("start_watchdog", [](int descriptor, const EndingTuples& endings) {
    start_watchdog(descriptor, as_endings(endings));
  }, "descriptor"_a, "endings"_a);
  m.def("set_endings", [](const EndingTuples& endings) { set_endings(as_endings(endings)); }, "endings"_a);
  m.def("wait_for_handover", wait_for_handover, nb::call_guard<nb::gil_scoped_release>());
  m.def("add_temporary_file", [](const nb::bytes& path) { add_temporary_file(path.c_str()); }, "path"_a);
  m.def("remove_temporary_file", [](const nb::bytes& path) { remove_temporary_file(path.c_str()); }, "path"_a);
}
