// Through linear bottlenecks one after another (Sandler et al. 2018), and back. What lies between them is kept here, so
// that a step goes through all of them in one call, and back in one: between calls caches lose what both need.
#pragma once

#include <cstddef>
#include <vector>

#include "aligned.hpp"
#include "batch_norm.hpp"
#include "parallel.hpp"
#include "shapes.hpp"

namespace facetools {

// Images (count, height, width, channels).
struct ImageBatch {
  const float* values;
  std::size_t count, height, width, channels;

  std::size_t places() const { return count * height * width; }
  bool same_shape(const ImageBatch& other) const {
    return count == other.count && height == other.height && width == other.width && channels == other.channels;
  }
};

// Weights, and the batch normalisation of what they make.
struct Normalised {
  const float* weights;
  BatchNorm norm;
};

// What leads from images to the next ones: they are expanded by weights (channels, inputs), those of a kernel of 1 or,
// row by row, of 3, at every `expand_stride`-th place; filtered by (channels, 9) at every `stride`-th; and projected by
// (outputs, channels). With `residual` the images themselves are added, which are of the same shape.
struct Bottleneck {
  std::size_t kernel, expand_stride, stride, channels, outputs;
  bool residual;
  Normalised expand, filters, project;

  std::size_t inputs(const ImageBatch& images) const { return kernel * kernel * images.channels; }

  // Maps that images are expanded to.
  MapShape maps(const ImageBatch& images) const;

  // What comes out, in its shape alone.
  ImageBatch next(const ImageBatch& images) const;
};

// Inputs at most of an expansion that is not kept but made anew on the way back: more cost more to make, and what they
// are expanded to is smaller. Those of a kernel of 3 are never more; others come in sixteens where they are more. Where
// factors are rounded, which makes it cheaper to go by whole groups of channels, 32 are not few.
constexpr std::size_t few = 32;

// Of the gradient by what comes out of one of them those by what it has learned.
struct LearnedGradients {
  BottleneckGradients layers;  // but those by images
  ScaleGradients by_projected_scale;
};

class Bottlenecks {
 public:
  // out = what they make of images. In training moving averages follow; else normalisation goes by these, and nothing
  // is kept for a way back. If they may be `rounded`, so are factors of large products where it gains, there and back.
  Bottlenecks(const ImageBatch& images, const std::vector<Bottleneck>& all, bool training, bool rounded, float* out,
              int threads, Progress& progress);
  Bottlenecks(Bottlenecks&&) = default;

  // From the gradient by what came out of such images those by the images, if there is room for them, and by what each
  // has learned.
  void back(const ImageBatch& images, const std::vector<Bottleneck>& all, const float* gradient, float* by_images,
            const std::vector<LearnedGradients>& out, int threads, Progress& progress) const;

  // Whether a way back leads to such images through these.
  bool led(const ImageBatch& images, const std::vector<Bottleneck>& all) const;

 private:
  // What one of them made.
  struct Passed {
    ImageBatch images;  // that it was given
    Bottleneck by;
    Grouped maps;
    const Products* products;
    Aligned<float> expanded;    // if it is kept,
    Aligned<float> columns;     // or weights (inputs, channels) by which it is made anew
    Aligned<double> of_inputs;  // and InputMoments
    Aligned<float> filtered, projected, out;
    Aligned<float> scale, filtered_scale, projected_scale;  // (4, channels)
  };

  static Passed pass(const ImageBatch& images, const Bottleneck& by, bool training, bool rounded, float* out,
                     int threads, Progress& progress);
  static void pass_back(const Passed& passed, const ImageBatch& images, const Bottleneck& by, const float* gradient,
                        float* by_images, const LearnedGradients& out, int threads, Progress& progress);

  std::vector<Passed> passed_;
};

}  // namespace facetools
