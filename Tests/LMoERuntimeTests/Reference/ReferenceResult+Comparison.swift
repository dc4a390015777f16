extension ReferenceResult {
  /// The parameter whose gradient is the furthest from one that was found elsewhere, and how far that is:
  /// max |a − b| over max |b|.
  ///
  /// A missing gradient, one too many, one of another length and one that is not finite are infinitely far. Where
  /// a whole tensor has next to no gradient, a millionth of the largest of all is what it is measured by.
  func furthest(from found: [String: [Float]]) -> (name: String, deviation: Double) {
    let floor = 1e-6 * (gradients.values.joined().map(abs).max() ?? 0)
    var worst = ("", 0.0)
    for name in Set(gradients.keys).union(found.keys).sorted() {
      guard let own = gradients[name], let other = found[name], own.count == other.count,
        other.allSatisfy(\.isFinite)
      else { return (name, .infinity) }
      let largest = max(own.map(abs).max() ?? 0, floor)
      let difference = zip(own, other).map { abs($0 - Double($1)) }.max() ?? 0
      let deviation = difference == 0 ? 0 : difference / largest
      if deviation > worst.1 { worst = (name, deviation) }
    }
    return worst
  }
}
