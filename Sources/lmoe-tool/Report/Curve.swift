/// A number over the steps of a run.
struct Curve: Sendable {
  /// A number at a step; NaN where there is none.
  struct Point: Hashable, Sendable {
    let step: Int
    let value: Double
  }

  /// The most points of a curve that is shown.
  static let limit = 2000

  /// What it is.
  let name: String
  /// The classes of its line.
  let style: String
  /// The numbers, by step.
  let points: [Point]

  /// Makes a curve.
  init(_ name: String, style: String, _ points: [Point]) {
    (self.name, self.style, self.points) = (name, style, points)
  }

  /// The finite numbers.
  var values: [Double] { points.lazy.map(\.value).filter { $0.isFinite } }

  /// The last finite number.
  var last: Double? { points.last { $0.value.isFinite }?.value }

  /// With a point that is no number wherever steps are missing.
  var withGaps: Curve {
    guard points.count > 2 else { return self }
    let distances = zip(points.dropFirst(), points).map { $0.step - $1.step }.sorted()
    let usual = max(1, distances[distances.count / 2])
    var result: [Point] = []
    for point in points {
      if let last = result.last, (point.step - last.step) / 5 > usual {
        result.append(Point(step: last.step + (point.step - last.step) / 2, value: .nan))
      }
      result.append(point)
    }
    return Curve(name, style: style, result)
  }

  /// At most `limit` points: of each stretch of steps the smallest and the largest number, in their order.
  func thinned(to limit: Int = Curve.limit) -> Curve {
    guard points.count > limit, limit >= 4, let first = points.first, let last = points.last else {
      return self
    }
    let count = (limit - 2) / 2
    let width = Double(last.step - first.step) + 1
    var result = [first]
    var stretch: [Point] = []
    var number = 0
    func close() {
      result += Self.extremes(stretch)
      stretch = []
    }
    for point in points.dropFirst().dropLast() {
      let next = Int(Double(point.step - first.step) / width * Double(count))
      if next != number { close() }
      number = next
      stretch.append(point)
    }
    close()
    result.append(last)
    return Curve(name, style: style, result)
  }

  private static func extremes(_ points: [Point]) -> [Point] {
    var low: Int?
    var high: Int?
    for (index, point) in points.enumerated() where point.value.isFinite {
      if low.map({ point.value < points[$0].value }) ?? true { low = index }
      if high.map({ point.value > points[$0].value }) ?? true { high = index }
    }
    guard let low, let high else { return Array(points.prefix(1)) }
    return low == high ? [points[low]] : [points[min(low, high)], points[max(low, high)]]
  }

  /// The mean over as many points before each as after it, twice; what is no number does not count.
  func smoothed(_ name: String, style: String, over half: Int) -> Curve {
    let once = Self.means(points.map(\.value), half)
    let twice = Self.means(once, half)
    return Curve(name, style: style, zip(points, twice).map { Point(step: $0.step, value: $1) })
  }

  private static func means(_ values: [Double], _ half: Int) -> [Double] {
    // Sums up to each place: the mean of any stretch is a difference.
    var sums = [0.0]
    var counts = [0]
    for value in values {
      let isNumber = value.isFinite
      sums.append((sums.last ?? 0) + (isNumber ? value : 0))
      counts.append((counts.last ?? 0) + (isNumber ? 1 : 0))
    }
    return values.indices.map { index in
      // As many on both sides, so that a slope at the end stays one; but not one alone, which would be noise.
      let reach = max(half / 4, min(half, index, values.count - 1 - index))
      let (start, end) = (max(0, index - reach), min(values.count, index + reach + 1))
      let count = counts[end] - counts[start]
      return count > 0 ? (sums[end] - sums[start]) / Double(count) : .nan
    }
  }
}
