private import CLMoEKernels
import LMoEFormat

extension Weight {
  /// How numbers are stored.
  enum Kind: Hashable, Sendable {
    case f32
    case f16
    case bf16
    case blocks(Blocks)
  }

  /// Quantized blocks, as the kernels know them.
  struct Blocks: Hashable, Sendable {
    let scheme: BlockScheme
    /// Elements of a block, and its bytes.
    let elements: Int
    let bytes: Int

    /// Blocks of a scheme that is known; nil for others.
    init?(_ geometry: BlockGeometry) {
      guard let scheme = geometry.decodable else { return nil }
      self.scheme = scheme
      (elements, bytes) = (Int(geometry.blockElements), Int(geometry.blockBytes))
    }
  }
}

extension Weight.Kind {
  /// The kind of a tensor; nil if the kernels do not read it.
  init?(_ type: TensorType) {
    switch type.dtype {
    case .f32: self = .f32
    case .f16: self = .f16
    case .bf16: self = .bf16
    default:
      guard let blocks = type.geometry.flatMap(Weight.Blocks.init) else { return nil }
      self = .blocks(blocks)
    }
  }

  /// The kernels' name for it.
  var code: Int32 {
    switch self {
    case .f32: Int32(LMOE_F32)
    case .f16: Int32(LMOE_F16)
    case .bf16: Int32(LMOE_BF16)
    case .blocks(let blocks): Int32(blocks.scheme.rawValue)
    }
  }

  /// The registry's name for it.
  var name: String {
    switch self {
    case .f32: DType.f32.name
    case .f16: DType.f16.name
    case .bf16: DType.bf16.name
    case .blocks(let blocks): blocks.scheme.name
    }
  }

  var isBlocks: Bool { blockElements > 0 }

  /// Elements of a block; 0 of floats.
  var blockElements: Int {
    if case .blocks(let blocks) = self { blocks.elements } else { 0 }
  }

  /// Whether each row of a matrix begins a block.
  var hasRows: Bool {
    if case .blocks(let blocks) = self { blocks.scheme != .nf4 } else { true }
  }

  /// Whether sums of products with it can be of integers.
  var hasIntegers: Bool { isBlocks && lmoe_has_integers(code, blockElements) != 0 }

  /// The bytes of so many elements from the first on: of blocks, of as many as hold them.
  func bytes(_ elements: Int) -> Int {
    switch self {
    case .f32: 4 * elements
    case .f16, .bf16: 2 * elements
    case .blocks(let blocks): (elements + blocks.elements - 1) / blocks.elements * blocks.bytes
    }
  }

  /// What an address of such a weight is a multiple of.
  var alignment: Int { isBlocks ? 1 : bytes(1) }
}
