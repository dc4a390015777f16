import LMoECore
import LMoEFormat

/// What element type the matrices of an exported GGUF file have; vectors are F32, as llama.cpp wants them.
public enum GGUFElement: String, CaseIterable, Sendable {
  case f32
  case f16
  case bf16
  case q8_0
  case q4_0
  case q4K = "q4_k"
  case q6K = "q6_k"
  /// As they are in the bundle, where GGUF has that.
  case asStored = "as-stored"

  /// llama.cpp's number of the file's type, which it shows and nothing else.
  func fileType(stored: [TensorType]) -> UInt32 {
    switch self {
    case .f32: return 0
    case .f16: return 1
    case .bf16: return 32
    case .q8_0: return 7
    case .q4_0: return 2
    case .q4K: return 15
    case .q6K: return 18
    case .asStored:
      let matrices = stored.filter { $0.shape.count == 2 }
      var bytes: [GGUFElement: Int] = [:]
      for type in matrices { bytes[Self.nearest(type), default: 0] += type.elementCount }
      let most = bytes.max { ($0.value, $1.key.rawValue) < ($1.value, $0.key.rawValue) }
      return (most?.key ?? .f32).fileType(stored: [])
    }
  }

  /// The element type that a stored tensor keeps, or is converted to where GGUF has none like it.
  static func nearest(_ type: TensorType) -> GGUFElement {
    switch type.geometry?.decodable {
    case .q4_0: .q4_0
    case .q8_0: .q8_0
    case .q4K: .q4K
    case .q6K: .q6K
    case .nf4, .i8Row, .i4Group: .f16
    case nil: type.dtype == .f16 ? .f16 : type.dtype == .bf16 ? .bf16 : .f32
    }
  }

  /// The float dtype it is; nil for blocks.
  var dtype: DType? {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .bf16: .bf16
    case .q8_0, .q4_0, .q4K, .q6K, .asStored: nil
    }
  }

  /// The blocks it is made of; nil for floats.
  var geometry: BlockGeometry? {
    switch self {
    case .q8_0: .q8_0
    case .q4_0: .q4_0
    case .q4K: .q4K
    case .q6K: .q6K
    case .f32, .f16, .bf16, .asStored: nil
    }
  }
}
