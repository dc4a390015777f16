import LMoECore

extension ExpertError: CustomStringConvertible {
  /// One sentence that names the file, the tensor and the remedy.
  public var description: String {
    let path = path.printable
    let name = "\"\((name ?? "?").shortened.printable)\""
    let found = (found ?? "?").printable
    let expected = (expected ?? "?").printable
    let suggestion = self.found.map { "; did you mean \"\($0.printable)\"?" } ?? ""
    let nearest = self.expected.map { " (the nearest is \"\($0.printable)\")" } ?? ""
    switch code {
    case .notADirectory: return "\(path) is not a directory"
    case .noWeights:
      return
        "\(path) holds no safetensors weights (\(expected)); save the model again with safe_serialization"
    case .pickledWeights:
      return
        "\(path) has its weights in \(name), a pickle, which can run code when it is read; load it where you trust it and save it again with safe_serialization"
    case .ambiguousWeights:
      return
        "\(path) holds both model.safetensors and model.safetensors.index.json; remove the one that is old"
    case .noConfiguration:
      return
        "\(path) has no \(expected); point at the directory that save_pretrained wrote\(self.found.map { ", such as \($0.printable)" } ?? "")"
    case .invalidConfiguration: return "\(path) is not a valid configuration: \(found)"
    case .invalidIndex: return "\(path) is not a valid shard index: \(found)"
    case .missingShard:
      return "\(path) names the shard \(name), which is not there; download the checkpoint again"
    case .staleShard:
      return "\(path): the shard \(name) belongs to no index; remove it, or restore the index that names it"
    case .missingTensor:
      return
        "\(path): the index says that \(found) holds the tensor \(name), and it does not; the index is stale: download the checkpoint again"
    case .unlistedTensor:
      return
        "\(path): the shard \(found) holds the tensor \(name), which the index does not list there; the index is stale: download the checkpoint again"
    case .duplicateTensor: return "\(path): the tensor \(name) stands in two shards, \(expected) and \(found)"

    case .unsupportedModel:
      return self.expected == nil
        ? "\(path): \(name) is \(found), which this tool cannot compute"
        : "\(path): the model_type \(found) is not supported; this tool knows \(expected)"
    case .unknownKey:
      return
        "\(path): \(name) is \(found), and this tool does not know what that does to the numbers; if it does nothing, say \"--ignore-key \((self.name ?? "?").shortened.printable)\""
    case .quantizedModel:
      return
        "\(path): the checkpoint is quantized (\(found)); import the original one, which \"quantize\" can make smaller"
    case .missingWeight:
      return
        "\(path): a \(expected) model has the tensor \(name), and the checkpoint has not\(suggestion.isEmpty ? "; download it again" : suggestion)"
    case .weightShape:
      return
        "\(path): the tensor \(name) has the shape \(found), and config.json makes it \(expected); one of them is of another model"
    case .unexpectedWeight:
      return
        "\(path): the tensor \(name) has no place in a \(expected) model; the checkpoint is of another architecture than config.json says"
    case .unsupportedElement:
      return
        "\(path): the tensor \(name) is \(found), which this tool cannot compute with; convert the model to F16, BF16, Q8_0, Q6_K, Q4_K or Q4_0"

    case .unsupportedAdapter:
      return "\(path): \(name) is \(found), which this tool cannot represent; \(expected)"
    case .mutatedBase:
      return
        "\(path): \(name) is \(found): training changed the base itself, and the adapter alone does not fit the original; \(expected)"
    case .unsupportedPattern:
      return
        "\(path): the pattern \(name) in \(expected) cannot be used (\(found)); write it out as module names"
    case .emptyAdapter: return "\(path) holds no LoRA tensors; the adapter was saved empty: save it again"
    case .unknownTensor:
      return
        "\(path): the tensor \(name) is nothing a LoRA adapter has; nothing was imported: remove it if it is not needed"
    case .unannouncedTensor:
      return
        "\(path): the tensor \(name) is there, but adapter_config.json does not say \(expected), so PEFT would leave it out; correct one of them"
    case .duplicateFactor:
      return "\(path): the tensors \(name) and \"\(found)\" are for the same place; remove one"
    case .missingFactor:
      return
        "\(path): the module \(name) has no \(expected), which adapter_config.json calls for; save the adapter again"
    case .invalidFactor:
      return "\(path): the tensor \(name) has \(found), and needs \(expected)"
    case .rankMismatch:
      return
        "\(path): the module \(name) has rank \(found) in its tensors and \(expected) in adapter_config.json"
    case .nonFinite:
      return
        "\(path): element \(found) of the tensor \(name) is not a finite number; the training diverged: take an earlier checkpoint"

    case .noBase: return "\(path) has no base bank; import one first"
    case .noSuchModule:
      return
        "\(path): the adapter changes \(name), which the base does not have\(nearest); it was trained on another base"
    case .noSuchTensor:
      return
        "\(path): the adapter brings the tensor \(name), and the base has no \(expected)\(self.found.map { " (\($0))" } ?? ""); it was trained on another base"
    case .taskHead:
      return
        "\(path): the tensor \(name) is the head of a classifier or a value model; this tool takes adapters of causal language models"
    case .untargetedModule:
      return
        "\(path): there are factors for \(name), which adapter_config.json leaves out (target_modules, exclude_modules, layers_to_transform), so PEFT would not load them; correct one of them"
    case .wrongKind:
      return "\(path): the adapter treats \(name) as \(found), and in the base it is \(expected)"
    case .shapeMismatch:
      return
        "\(path): the adapter's tensors for \(name) are for a weight of \(found), and the base has \(expected); it was trained on another base"
    case .resizedVocabulary:
      return
        "\(path): the tensor \(name) is for a vocabulary of \(found), and the base has \(expected) tokens; import the base with the vocabulary it was trained with"

    case .invalidName:
      return
        "\(name) cannot be the name of \(self.expected ?? "an expert"): use 1 to 255 bytes without \"/\", \"=\", \",\", \"#\", control characters and leading \"-\""
    case .notExportable: return "\(path): \(name) cannot be exported: \(found)"
    case .outputExists: return "\(path) already exists; choose another path or remove it"

    case .noExpertNamed:
      return "\(path) is a bundle; name one of its experts as \(path)#NAME: it has \(found)"
    case .invalidExpert: return "\(path) is not a valid expert: \(found)"
    case .tensorMismatch:
      return
        "\(path): the tensor \(name) has \(found), and the base asks for \(expected); it was trained on another base"
    case .baseMismatch:
      return
        "\(path) was trained on the base \(found), and this bundle's base is \(expected); add it to a bundle of its own base, or accept this one with --allow-base-mismatch"
    case .otherBase:
      return
        "\(path) is not the base of \(expected): the tensor \(name) \(found); \"lmoe-tool verify \(expected) --against-base \(path)\" lists all that differs"

    case .invalidGate:
      return
        "\(path): the gate \(name) is not valid: \(found); make it anew with \"gate init --force\""
    case .unsupportedGate:
      return
        "\(path): the gate \(name) has \"\(expected)\" \(found), which this tool cannot compute; use a newer lmoe-tool, or make another gate with \"gate init\""
    case .severalGates:
      return "\(path) has several gates (\(found)) and none called \"default\"; name one with --gate"
    case .gateExists:
      return "\(path) already has a gate \(name); choose another name, or replace it with --force"
    case .noExperts: return "\(path) has no experts that a gate could choose from; add some first"
    case .invalidText: return "\(path) is not a text that can be read: \(found)"

    case .changedMeanwhile:
      return
        "\(path): \(found) since the training began, and nothing was published; restore the generation that it began from (\"lmoe-tool history\" lists them), or train anew"
    case .noSuchTarget:
      return "\(path) has no linear layer \(name) that an expert could change\(suggestion)"
    case .notQuantizable:
      return
        "\(path): the values of the tensor \(name) near element \(found) are too large for the type; leave such tensors as they are with --keep, or choose another type"
    case .quantizedAlready:
      return
        "\(path): the tensor \(name) is \(found) already, and \(expected) would keep no more of it; quantize the original again: import it anew, or restore an earlier generation (\"lmoe-tool history\")"
    case .weightsElsewhere:
      return
        "\(path): the weights of the base are not in the file; take them in first with \"lmoe-tool export \(path) --to lmoe --base DIR -o NEW.lmoe\""
    case .quantizedExport:
      return
        "\(path): \(name) is quantized (\(found)), and the files it came from cannot be made of it; add --dequantize bf16, f16 or f32 to write the rounded values"
    case .nothingToQuantize: return "\(path) has nothing to quantize: \(found)"
    case .invalidTraining:
      return "\(path): \(name) cannot be trained so: it was given \(found)"

    case .noLinearAlgebra:
      return
        "no LAPACK library was found, which this needs; install one (Debian and Ubuntu: apt install libopenblas0-pthread)"
    case .linearAlgebra: return "the linear algebra library gave up: \(found)"
    case .noStaticDelta:
      return
        "\(path): \(name) cannot be merged so: \(found)\(self.expected.map { "; use \($0.printable)" } ?? "")"
    case .mergeMismatch:
      return
        "\(path): \(name) has the shape \(found), and \(self.expected ?? "another's is different"); experts of one base can be merged, these are of two"
    case .invalidMerge: return "these cannot be merged: \(found)"

    case .invalidPruning: return "\(path) cannot be pruned so: \(found)"
    }
  }
}

extension String {
  /// Cut off where a sentence would drown in it: names in files can have any length.
  var shortened: String {
    utf8.count <= 300 ? self : String(String.UnicodeScalarView(unicodeScalars.prefix(297))) + "…"
  }
}
