import LMoECore
import LMoEFormat

/// What a card says of a quantization (registry §5.6).
struct QuantizationRecord {
  let type: QuantizedType
  /// What was left as it was.
  let kept: [TensorClass]
  /// The XXH3-128 of the text that errors were weighed by.
  let calibration: Bits128?
  let clock: UInt64

  /// The record; `previous` is the one it takes the place of.
  func json(previous: JSON?) -> JSON {
    var members: [(String, JSON)] = [
      ("type", .string(type.name)),
      ("kept", .array(kept.map { .string($0.rawValue) })),
      ("made_ns", .integer(clock)), ("tool", .string(toolName)),
    ]
    if let calibration { members.append(("calibration", .string(calibration.description))) }
    if let previous, previous.object != nil { members.append(("of", previous)) }
    return .object(members)
  }
}
