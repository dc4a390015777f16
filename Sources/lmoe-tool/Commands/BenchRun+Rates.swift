import LMoECore
import LMoERuntime

/// Tokens a second of a model, and what the machine allows.
struct InferenceRates {
  /// Of the prompt.
  let prefill: Double
  /// Of the tokens that follow.
  let decode: Double
  /// The part of a prompt's time that its multiplications would take in registers, all of them as floats; of integers
  /// a processor may do more.
  let prefillShare: Double
  /// The part that they would take as large products of the same types, and nothing else.
  let prefillProductsShare: Double
  /// The part of a token's time that reading the weights would take alone.
  let decodeShare: Double
  /// Bytes that are read for a token.
  let weightBytes: Int

  init(_ measured: InferenceMeasurement, prompt: Int, _ floors: InferenceFloors) {
    prefill = Double(prompt) / measured.promptSeconds.median
    decode = 1 / measured.tokenSeconds.median
    weightBytes = measured.model.weightBytes
    let (work, bytes) = (measured.multiplications, Double(weightBytes))
    let (ofIntegers, ofFloats) = (2 * Double(work.integers), 2 * Double(work.floats))
    prefillShare =
      zip(measured.promptSeconds, floors.multiplyAdds).map { (ofIntegers + ofFloats) / $1 / $0 }.median
    prefillProductsShare =
      measured.promptSeconds.indices.map {
        (ofIntegers / floors.integers[$0] + ofFloats / floors.floats[$0]) / measured.promptSeconds[$0]
      }.median
    let stretches = measured.tokenSeconds.count / floors.bytes.count
    decodeShare =
      measured.tokenSeconds.indices.map {
        bytes / floors.bytes[$0 / stretches] / measured.tokenSeconds[$0]
      }.median
  }

  var json: JSON {
    [
      "prefill_tokens_s": .double(prefill), "prefill_floor_share": .double(prefillShare),
      "prefill_products_share": .double(prefillProductsShare),
      "decode_tokens_s": .double(decode), "decode_share": .double(decodeShare),
      "weight_bytes": .integer(weightBytes),
    ]
  }
}

/// How many times a model takes of another's time and bytes.
struct InferenceCosts {
  let prefill: Double
  let decode: Double
  /// Bytes of weights that are read for a token.
  let weightBytes: Double

  init(of measured: InferenceMeasurement, over other: InferenceMeasurement) {
    prefill = measured.promptSeconds.median(over: other.promptSeconds)
    decode = measured.tokenSeconds.median(over: other.tokenSeconds)
    weightBytes = Double(measured.model.weightBytes) / Double(other.model.weightBytes)
  }
}

extension [Double] {
  /// How many times the other's figures these are, each beside its neighbour in time: the median.
  func median(over other: [Double]) -> Double { zip(self, other).map { $0 / $1 }.median }

  /// The one in the middle, or the mean of the two; of none, NaN.
  var median: Double {
    let sorted = sorted()
    return isEmpty ? .nan : (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
  }
}
