// Included by each SIMD level.
#pragma once

namespace facetools {

namespace {

// Calls body.template operator()<n>() with n = planes for 1 to 8 planes, each of which is compiled for itself so that a
// code stays in registers; with n = 0 for more of them.
template <class Body>
auto by_planes(int planes, const Body& body) {
  switch (planes) {
    case 1: return body.template operator()<1>();
    case 2: return body.template operator()<2>();
    case 3: return body.template operator()<3>();
    case 4: return body.template operator()<4>();
    case 5: return body.template operator()<5>();
    case 6: return body.template operator()<6>();
    case 7: return body.template operator()<7>();
    case 8: return body.template operator()<8>();
    default: return body.template operator()<0>();
  }
}

}  // namespace

}  // namespace facetools
