// The module facetools._core: checks and forwards, nothing else. The face of what is here is facetools/codes.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "codes/codes.hpp"
#include "codes/dbscan.hpp"
#include "codes/kmeans.hpp"
#include "codes/linkage.hpp"
#include "codes/parallel.hpp"
#include "codes/silhouette.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class T>
using Array2 = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
using Array1 = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr std::int64_t max_faces = std::int64_t{1} << 40;

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

template <class T>
nb::object adopt(std::vector<T>&& values, std::initializer_list<std::size_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(kept->data(), shape, owner));
}

// The report of a kernel to Python: signals first, so that Ctrl-C stops it.
Progress progress_to(const nb::object& report) {
  return Progress([report](double share) {
    const nb::gil_scoped_acquire hold;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (!report.is_none()) report(share);
  });
}

Codes view(const Array2<std::uint64_t>& codes) {
  require(codes.shape(1) >= 1 && codes.shape(1) <= max_words, "codes: 1 to 4 words are known");
  return {codes.data(), codes.shape(0), static_cast<int>(codes.shape(1))};
}

void check_attributes(const Codes& codes, std::size_t attributes) {
  const auto width = static_cast<std::size_t>(codes.width);
  require(attributes <= 64 * width, "attributes: more than the codes have bits");
  for (std::size_t w = 0; w < width; ++w) {
    const std::size_t used = std::min<std::size_t>(64, attributes - std::min(attributes, 64 * w));
    if (used == 64) continue;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < codes.size; ++i) seen |= codes[i][w];
    require(seen >> used == 0, "codes: a bit is set past the last attribute");
  }
}

void check_values(const std::optional<Array1<double>>& values, std::size_t attributes) {
  if (!values) return;
  require(values->shape(0) == attributes, "values: not as many as attributes");
  for (std::size_t a = 0; a < attributes; ++a)
    require((*values)(a) >= 0 && (*values)(a) <= 1e200, "values: not from 0 to 1e200");
}

void check_counts(const Codes& codes, const Array1<std::int64_t>& counts) {
  require(counts.shape(0) == codes.size, "counts: not as many as codes");
  std::int64_t faces = 0;
  for (std::size_t i = 0; i < codes.size; ++i) {
    require(counts(i) >= 1, "counts: below 1");
    require(counts(i) <= max_faces - faces, "counts: more than 2^40 faces");
    faces += counts(i);
  }
}

template <class Score>
nb::object pack_rows(const Array2<Score>& rows, double threshold, int threads, const nb::object& report) {
  const std::size_t n = rows.shape(0), attributes = rows.shape(1);
  require(attributes <= 64 * max_words, "rows: more than 256 attributes");
  require(threshold == threshold, "threshold: NaN");
  const std::size_t width = std::max<std::size_t>(1, (attributes + 63) / 64);
  std::vector<std::uint64_t> out(n * width);
  Progress progress = progress_to(report);
  {
    const nb::gil_scoped_release release;
    pack(rows.data(), n, attributes, threshold, out.data(), threads, progress);
  }
  return adopt(std::move(out), {n, width});
}

nb::object unpack_codes(const Array2<std::uint64_t>& array, std::size_t attributes, int threads,
                        const nb::object& report) {
  const Codes codes = view(array);
  check_attributes(codes, attributes);
  std::vector<std::uint8_t> out(codes.size * attributes);
  Progress progress = progress_to(report);
  {
    const nb::gil_scoped_release release;
    unpack(codes, attributes, out.data(), threads, progress);
  }
  return adopt(std::move(out), {codes.size, attributes});
}

nb::tuple distinct_codes(const Array2<std::uint64_t>& array, const nb::object& report) {
  const Codes codes = view(array);
  std::vector<std::int64_t> inverse(codes.size);
  Distinct found;
  Progress progress = progress_to(report);
  {
    const nb::gil_scoped_release release;
    found = distinct(codes, inverse.data(), progress);
  }
  const std::size_t d = found.counts.size();
  return nb::make_tuple(adopt(std::move(found.codes), {d, static_cast<std::size_t>(codes.width)}),
                        adopt(std::move(found.counts), {d}), adopt(std::move(inverse), {codes.size}),
                        adopt(std::move(found.first), {d}));
}

Metric metric_named(const std::string& name) {
  if (name == "euclidean") return Metric::euclidean;
  if (name == "sqeuclidean") return Metric::sqeuclidean;
  if (name == "manhattan") return Metric::manhattan;
  if (name == "cosine") return Metric::cosine;
  throw std::invalid_argument("metric: euclidean, sqeuclidean, manhattan and cosine are known");
}

nb::tuple silhouette_codes(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts,
                           const Array1<std::int32_t>& labels, std::size_t attributes, const std::string& metric_name,
                           const std::optional<Array1<double>>& weights, int threads, const nb::object& report) {
  const Codes codes = view(array);
  const Metric metric = metric_named(metric_name);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(labels.shape(0) == codes.size, "labels: not as many as codes");
  check_values(weights, attributes);
  std::int32_t top = -1;
  for (std::size_t i = 0; i < codes.size; ++i) {
    require(labels(i) >= -1, "labels: below -1");
    require(labels(i) < static_cast<std::int64_t>(codes.size), "labels: not below the number of codes");
    top = std::max(top, labels(i));
  }
  std::vector<double> samples(codes.size);
  double mean = 0;
  Progress progress = progress_to(report);
  {
    const nb::gil_scoped_release release;
    mean = silhouette(codes, counts.data(), labels.data(), static_cast<std::size_t>(top) + 1, attributes, metric,
                      weights ? weights->data() : nullptr, samples.data(), threads, progress);
  }
  return nb::make_tuple(mean, adopt(std::move(samples), {codes.size}));
}

nb::object dbscan_codes(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts, std::size_t radius,
                        std::int64_t min_samples, int threads, const nb::object& report) {
  const Codes codes = view(array);
  check_counts(codes, counts);
  require(codes.size < UINT32_MAX, "codes: 2^32 - 1 or more");
  require(min_samples >= 1, "min_samples: below 1");
  std::vector<std::int32_t> labels(codes.size);
  Progress progress = progress_to(report);
  {
    const nb::gil_scoped_release release;
    dbscan(codes, counts.data(), radius, min_samples, labels.data(), threads, progress);
  }
  return adopt(std::move(labels), {codes.size});
}

Method method_named(const std::string& name) {
  if (name == "ward") return Method::ward;
  if (name == "average") return Method::average;
  if (name == "centroid") return Method::centroid;
  if (name == "single") return Method::single;
  if (name == "complete") return Method::complete;
  throw std::invalid_argument("method: ward, average, centroid, single and complete are known");
}

nb::object linkage_codes(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts, std::size_t attributes,
                         const std::string& method_name, const std::optional<Array1<double>>& values, int threads,
                         const nb::object& report) {
  const Codes codes = view(array);
  const Method method = method_named(method_name);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(codes.size >= 1, "codes: none");
  require(codes.size < UINT32_MAX, "codes: 2^32 - 1 or more");
  check_values(values, attributes);
  std::vector<double> tree;
  Progress progress = progress_to(report);
  {
    const nb::gil_scoped_release release;
    tree = scipy_form(
        link(codes, counts.data(), attributes, method, values ? values->data() : nullptr, threads, progress),
        counts.data());
  }
  return adopt(std::move(tree), {codes.size - 1, 4});
}

nb::object cut_tree(const Array2<double>& tree, std::size_t clusters) {
  const std::size_t merges = tree.shape(0), codes = merges + 1;
  require(tree.shape(1) == 4, "tree: not of four columns");
  require(clusters >= 1 && clusters <= codes, "clusters: not from 1 to the number of codes");
  for (std::size_t m = 0; m < merges; ++m)
    for (const std::size_t side : {0, 1}) {
      const double child = tree(m, side);
      require(child >= 0 && child < static_cast<double>(codes + m), "tree: a row merges what is not there yet");
    }
  std::vector<std::int32_t> labels(codes);
  cut(tree.data(), codes, clusters, labels.data());
  return adopt(std::move(labels), {codes});
}

nb::tuple assign_codes(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts,
                       const Array2<double>& centroids, const std::optional<Array1<double>>& values, int threads,
                       const nb::object& report) {
  const Codes codes = view(array);
  const std::size_t clusters = centroids.shape(0), attributes = centroids.shape(1);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(clusters >= 1 && clusters <= INT32_MAX, "centroids: not from 1 to 2^31 - 1");
  require(std::all_of(centroids.data(), centroids.data() + centroids.size(), [](double x) { return std::isfinite(x); }),
          "centroids: not finite");
  check_values(values, attributes);
  std::vector<std::int32_t> labels(codes.size);
  std::vector<double> distances(codes.size);
  double inertia = 0;
  Progress progress = progress_to(report);
  {
    const nb::gil_scoped_release release;
    kmeans_assign(codes, attributes, centroids.data(), clusters, values ? values->data() : nullptr, labels.data(),
                  distances.data(), threads, progress);
    for (std::size_t i = 0; i < codes.size; ++i) inertia += static_cast<double>(counts(i)) * distances[i];
  }
  return nb::make_tuple(adopt(std::move(labels), {codes.size}), adopt(std::move(distances), {codes.size}), inertia);
}

nb::tuple update_centroids(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts,
                           const Array1<std::int32_t>& labels, std::size_t clusters, std::size_t attributes,
                           int threads, const nb::object& report) {
  const Codes codes = view(array);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(labels.shape(0) == codes.size, "labels: not as many as codes");
  require(clusters >= 1 && clusters <= INT32_MAX, "clusters: not from 1 to 2^31 - 1");
  for (std::size_t i = 0; i < codes.size; ++i)
    require(labels(i) >= -1 && labels(i) < static_cast<std::int64_t>(clusters), "labels: not from -1 to clusters - 1");
  std::vector<std::int64_t> sums(clusters * attributes), sizes(clusters);
  Progress progress = progress_to(report);
  {
    const nb::gil_scoped_release release;
    kmeans_update(codes, counts.data(), labels.data(), clusters, attributes, sums.data(), sizes.data(), threads,
                  progress);
  }
  return nb::make_tuple(adopt(std::move(sums), {clusters, attributes}), adopt(std::move(sizes), {clusters}));
}

nb::object seed_codes(const Array2<std::uint64_t>& array, const Array1<std::int64_t>& counts, std::size_t attributes,
                      std::size_t clusters, std::uint64_t seed, const std::optional<Array1<double>>& values,
                      int threads, const nb::object& report) {
  const Codes codes = view(array);
  check_attributes(codes, attributes);
  check_counts(codes, counts);
  require(clusters >= 1 && clusters <= codes.size, "clusters: not from 1 to the number of codes");
  check_values(values, attributes);
  std::vector<std::int64_t> seeds;
  Progress progress = progress_to(report);
  {
    const nb::gil_scoped_release release;
    seeds = kmeans_seed(codes, counts.data(), attributes, clusters, seed, values ? values->data() : nullptr, threads,
                        progress);
  }
  return adopt(std::move(seeds), {clusters});
}

}  // namespace

}  // namespace facetools

NB_MODULE(_core, m) {
  using namespace facetools;
  const auto codes = [] { return nb::arg("codes").noconvert(); };
  const auto counts = [] { return nb::arg("counts").noconvert(); };
  const auto rows = [] { return nb::arg("rows").noconvert(); };

  m.def("pack", pack_rows<float>, rows(), "threshold"_a, "threads"_a, "report"_a.none());
  m.def("pack", pack_rows<double>, rows(), "threshold"_a, "threads"_a, "report"_a.none());
  m.def("pack", pack_rows<std::uint8_t>, rows(), "threshold"_a, "threads"_a, "report"_a.none());
  m.def("unpack", unpack_codes, codes(), "attributes"_a, "threads"_a, "report"_a.none());
  m.def("distinct", distinct_codes, codes(), "report"_a.none());
  m.def("silhouette", silhouette_codes, codes(), counts(), nb::arg("labels").noconvert(), "attributes"_a, "metric"_a,
        nb::arg("weights").noconvert().none(), "threads"_a, "report"_a.none());
  m.def("dbscan", dbscan_codes, codes(), counts(), "radius"_a, "min_samples"_a, "threads"_a, "report"_a.none());
  m.def("linkage", linkage_codes, codes(), counts(), "attributes"_a, "method"_a,
        nb::arg("values").noconvert().none(), "threads"_a, "report"_a.none());
  m.def("cut", cut_tree, nb::arg("tree").noconvert(), "clusters"_a);
  m.def("kmeans_assign", assign_codes, codes(), counts(), nb::arg("centroids").noconvert(),
        nb::arg("values").noconvert().none(), "threads"_a, "report"_a.none());
  m.def("kmeans_update", update_centroids, codes(), counts(), nb::arg("labels").noconvert(), "clusters"_a,
        "attributes"_a, "threads"_a, "report"_a.none());
  m.def("kmeans_seed", seed_codes, codes(), counts(), "attributes"_a, "clusters"_a, "seed"_a,
        nb::arg("values").noconvert().none(), "threads"_a, "report"_a.none());
  m.def("simd", [] { return kernels().name; });
}
