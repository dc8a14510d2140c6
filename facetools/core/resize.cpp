#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "simd.hpp"

namespace facetools {

namespace {

// One side of an image, of `before` pixels, that comes to have `after`.
struct Side {
  Side(std::size_t before, std::size_t after) : spans(after) {
    const double scale = static_cast<double>(before) / static_cast<double>(after), reach = std::max(scale, 1.0);
    std::vector<double> shares;
    for (std::size_t i = 0; i < after; ++i) {
      const double centre = (static_cast<double>(i) + 0.5) * scale;
      const auto first = static_cast<std::size_t>(std::max(centre - reach + 0.5, 0.0));
      const auto last = static_cast<std::size_t>(std::min(centre + reach + 0.5, static_cast<double>(before)));
      shares.clear();
      double sum = 0;
      for (std::size_t pixel = first; pixel < last; ++pixel) {
        const double away = std::abs((static_cast<double>(pixel) - centre + 0.5) * (1 / reach));
        shares.push_back(away < 1 ? 1 - away : 0);
        sum += shares.back();
      }
      spans[i] = {first, shares.size(), weights.size()};
      for (const double share : shares)
        weights.push_back(static_cast<std::uint32_t>(0.5 + share / sum * (1 << Span::precision)));
    }
  }

  std::vector<Span> spans;
  std::vector<std::uint32_t> weights;
};

}  // namespace

void resize(const Picture<const std::uint8_t>& image, const Picture<std::uint8_t>& out) {
  constexpr std::size_t rows_at_once = 4;
  const std::size_t line = 3 * image.width, out_line = 3 * out.width;
  const std::size_t padded = (out_line + 16) / 16 * 16;  // with a byte that belongs to no pixel
  const Side across(image.width, out.width), down(image.height, out.height);

  std::vector<std::uint8_t> narrowed((image.height + rows_at_once) * padded);
  std::vector<std::uint8_t> last(rows_at_once * line + 1);
  for (std::size_t row = 0; row < image.height; row += rows_at_once) {
    const std::uint8_t* from = image.pixels + row * line;
    const std::size_t left = image.height - row;
    if (left <= rows_at_once) {  // behind which nothing may be read
      std::memcpy(last.data(), from, left * line);
      from = last.data();
    }
    kernels().resize_rows(from, line, across.spans.data(), out.width, across.weights.data(),
                          narrowed.data() + row * padded, padded);
  }

  std::vector<std::uint8_t> shown(padded);
  for (std::size_t row = 0; row < out.height; ++row) {
    const Span& span = down.spans[row];
    kernels().blend_rows(narrowed.data() + span.first * padded, padded, down.weights.data() + span.weights, span.count,
                         shown.data());
    std::memcpy(out.pixels + row * out_line, shown.data(), out_line);
  }
}

}  // namespace facetools
